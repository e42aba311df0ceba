"""The outbox: every decision is announced, in order per card, whatever the sink does."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from functions.bank.database import Database
from functions.bank.outbox import SENT_KEPT_FOR, Outbox, Published
from functions.bank.payments import Payments, now_utc
from functions.domain.card import CardNumber, CardProof, Cvv, Expiry
from functions.domain.error import Invalid, Unavailable
from functions.domain.event import event_id
from functions.domain.payment import DeclineCode, TransactionStatus
from functions.runtime import trace
from functions.runtime.event import Event
from functions.runtime.sink import MemorySink
from protos.codebank.bank.v1 import bank_pb2 as pb
from tests.functions.bank.desk import Desk, fresh_key, pay_request, payment, together
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Gate(MemorySink):
    """A sink that can be told to hold on, to refuse, and to lose its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        self.refuse: Callable[[Event], bool] = lambda event: False
        self.loses_answers = False

    async def send(self, event: Event) -> None:
        self.waiting += 1
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        if self.refuse(event):
            raise Invalid("no")
        await super().send(event)
        if self.loses_answers:
            raise Unavailable("the answer was lost")


@pytest.fixture
async def other(bank_url: str) -> AsyncIterator[Database]:
    """The database by connections of another process."""
    database = Database(bank_url, 4)
    yield database
    await database.close()


def has_events(sink: MemorySink, count: int) -> bool:
    """Whether the sink has so many."""
    return len(sink.events) == count


async def unsent(desk: Desk) -> int:
    """How many rows wait."""
    count: int = await desk.value("select count(*) from outbox where sent_at is null")
    return count


def order_of(events: list[Event], token: str) -> list[str]:
    """The transactions of one card, in the order in which they were first announced."""
    subjects = [event.subject or "" for event in events if event.extensions["partitionkey"] == token]
    return list(dict.fromkeys(subjects))


async def test_each_decision_is_announced_as_what_it_is(desk: Desk) -> None:
    proof, card = await desk.issue(limit_minor=1000)
    traceparent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    method = desk.merchant.method("Pay")
    request = pay_request(proof, 600)
    paid = await method(request, metadata=(*desk.merchant.metadata, ("traceparent", traceparent)))
    declined = await desk.merchant.pay(proof, 500)
    refund = await desk.merchant.call(
        "Refund", pb.RefundRequest(idempotency_key=fresh_key(), transaction_id=paid.id, amount_minor=50)
    )
    unknown = await desk.merchant.pay(CardProof("x", CardNumber("4111111111111111"), Expiry(2039, 1), Cvv("123")))
    await desk.merchant.call("Cancel", pb.CancelRequest(idempotency_key=fresh_key()))
    assert await desk.outbox.publish() is Published.ALL
    assert await unsent(desk) == 0

    by_subject = {event.subject: event for event in desk.sink.events}
    assert set(by_subject) == {paid.id, declined.id, refund.id, unknown.id}, "a fence announces nothing"
    for transaction, kind in ((paid, "approved"), (declined, "declined"), (refund, "refunded"), (unknown, "declined")):
        event = by_subject[transaction.id]
        assert event.type == f"codebank.payment.{kind}.v1"
        assert event.id == event_id(event.type, transaction.id)
        assert event.source == "/codebank/bank"
        data = event.transaction()
        assert data.transaction_id == transaction.id
        assert data.payment_date == transaction.created_at.ToDatetime(dt.UTC)
        assert data.amount_minor == transaction.amount_minor
    assert by_subject[paid.id].extensions["traceparent"] == traceparent
    assert {by_subject[each.id].extensions["partitionkey"] for each in (paid, declined, refund)} == {card.token}
    assert by_subject[unknown.id].extensions["partitionkey"] == unknown.id
    assert by_subject[unknown.id].transaction().card.model_dump() == {"token": None, "brand": None, "last4": None}
    assert by_subject[declined.id].transaction().decline_code is DeclineCode.INSUFFICIENT_FUNDS
    given_back = by_subject[refund.id].transaction()
    assert (given_back.status, given_back.amount_minor) == (TransactionStatus.REFUNDED, 50)
    assert (given_back.refund_of, given_back.order_id) == (paid.id, request.order_id)


async def test_a_commit_wakes_the_publisher(desk: Desk) -> None:
    running = asyncio.create_task(desk.outbox.run())
    try:
        proof, _ = await desk.issue()
        for count in range(1, 4):
            await desk.merchant.pay(proof)
            await until(partial(has_events, desk.sink, count), "the event is published")
    finally:
        running.cancel()
        await together(running)


async def test_a_sink_that_was_away_gets_everything_in_order(desk: Desk) -> None:
    proofs = [await desk.issue(limit_minor=10**6) for _ in range(5)]
    desk.sink.down = True
    running = asyncio.create_task(desk.outbox.run())
    try:
        expected: dict[str, list[str]] = {card.token: [] for _, card in proofs}
        for _ in range(6):
            for proof, card in proofs:
                expected[card.token].append((await desk.merchant.pay(proof)).id)
        assert await unsent(desk) == 30
        desk.sink.down = False
        await until(lambda: len(desk.sink.events) >= 30, "all is published")
    finally:
        running.cancel()
        await together(running)
    assert {token: order_of(desk.sink.events, token) for token in expected} == expected
    assert len(desk.sink.events) == 30


async def test_a_dead_sink_shows_in_the_metric(desk: Desk) -> None:
    await desk.outbox.measure()
    assert REGISTRY.get_sample_value("outbox_oldest_seconds") == 0
    proof, _ = await desk.issue()
    hour_ago = now_utc() - dt.timedelta(hours=1)
    await Payments(desk.database, desk.keys, clock=lambda: hour_ago).pay(payment(proof))
    desk.sink.down = True
    assert await desk.outbox.publish() is Published.SINK_AWAY
    await desk.outbox.measure()
    assert (REGISTRY.get_sample_value("outbox_oldest_seconds") or 0) >= 3600


async def test_several_publishers_at_once_lose_nothing_and_keep_the_order(desk: Desk, other: Database) -> None:
    gate = Gate()
    publishers = [Outbox(database, gate) for database in (desk.database, other, other)]
    proofs = [await desk.issue(limit_minor=10**6) for _ in range(12)]
    expected: dict[str, list[str]] = {card.token: [] for _, card in proofs}

    async def pay_round() -> None:
        answers = await together(*(desk.merchant.pay(proof) for proof, _ in proofs))
        for answer, (_, card) in zip(answers, proofs, strict=True):
            expected[card.token].append(answer.id)

    async def publish() -> None:
        for _ in range(5):
            await together(*(publisher.publish() for publisher in publishers))

    for _ in range(5):
        await together(pay_round(), publish())
    await publish()
    assert await unsent(desk) == 0
    assert {token: order_of(gate.events, token) for token in expected} == expected
    assert len(gate.events) == 60, "while nothing fails, nothing is sent twice"


async def test_who_holds_a_shard_publishes_what_came_meanwhile(desk: Desk, other: Database) -> None:
    gate = Gate()
    first, second = Outbox(desk.database, gate), Outbox(other, gate)
    proof, _ = await desk.issue()
    await desk.merchant.pay(proof)
    gate.open.clear()
    holding = asyncio.create_task(first.publish())
    await until(lambda: gate.waiting == 1, "the first publisher waits for the sink")
    await desk.merchant.pay(proof)
    assert await second.publish() is Published.ALL, "it leaves the shard to its holder"
    assert gate.events == []
    gate.open.set()
    await holding
    assert len(gate.events) == 2
    assert await unsent(desk) == 0


async def test_an_answer_that_was_lost_makes_a_duplicate_with_the_same_id(desk: Desk) -> None:
    gate = Gate()
    outbox = Outbox(desk.database, gate)
    proof, _ = await desk.issue()
    await desk.merchant.pay(proof)
    await desk.merchant.pay(proof)
    gate.loses_answers = True
    assert await outbox.publish() is Published.SINK_AWAY
    gate.loses_answers = False
    assert await outbox.publish() is Published.ALL
    ids = [event.id for event in gate.events]
    assert ids == [ids[0], ids[0], ids[2]]
    assert len(set(ids)) == 2


async def test_a_publisher_that_dies_lets_go_of_its_shards(desk: Desk, bank_url: str) -> None:
    gate = Gate()
    gate.open.clear()
    dying = Database(bank_url, 2)
    proof, _ = await desk.issue()
    await desk.merchant.pay(proof)
    holding = asyncio.create_task(Outbox(dying, gate).publish())
    await until(lambda: gate.waiting == 1, "it waits for the sink")
    # What the death of its process does: the sessions end.
    await desk.fetch(
        "select pg_terminate_backend(a.pid) from pg_stat_activity a join pg_locks l on l.pid = a.pid"
        " where l.locktype = 'advisory' and a.pid <> pg_backend_pid() and a.datname = current_database()"
    )
    gate.open.set()
    [died] = await together(holding)
    assert isinstance(died, Unavailable)
    assert await Outbox(desk.database, gate).publish() is Published.ALL
    assert await unsent(desk) == 0
    await dying.close()


async def test_an_event_that_the_sink_refuses_holds_up_its_card_alone(desk: Desk) -> None:
    gate = Gate()
    outbox = Outbox(desk.database, gate)
    bad, bad_card = await desk.issue()
    good, good_card = await desk.issue()
    first = await desk.merchant.pay(bad)
    for proof in (bad, good, good):
        await desk.merchant.pay(proof)
    gate.refuse = lambda event: event.subject == first.id
    assert await outbox.publish() is Published.SOME_REFUSED
    assert len(order_of(gate.events, good_card.token)) == 2
    assert order_of(gate.events, bad_card.token) == []
    assert await unsent(desk) == 2
    gate.refuse = lambda event: False
    assert await outbox.publish() is Published.ALL
    assert len(order_of(gate.events, bad_card.token)) == 2


async def test_no_transaction_is_open_while_the_sink_is_waited_for(desk: Desk) -> None:
    gate = Gate()
    gate.open.clear()
    proof, _ = await desk.issue()
    await desk.merchant.pay(proof)
    publishing = asyncio.create_task(Outbox(desk.database, gate).publish())
    await until(lambda: gate.waiting == 1, "the sink is waited for")
    states = await desk.fetch(
        "select state, backend_xid, backend_xmin from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
    assert {(row["state"], row["backend_xid"], row["backend_xmin"]) for row in states} == {("idle", None, None)}
    gate.open.set()
    await publishing


async def test_sent_rows_are_pruned_after_the_stated_time_and_others_never(desk: Desk) -> None:
    proof, _ = await desk.issue()
    await desk.merchant.pay(proof)
    await desk.outbox.publish()
    await desk.merchant.pay(proof)
    soon, later = now_utc() + SENT_KEPT_FOR / 2, now_utc() + SENT_KEPT_FOR + dt.timedelta(minutes=1)
    await desk.outbox.prune(soon)
    assert await desk.value("select count(*) from outbox") == 2
    await desk.outbox.prune(later)
    assert await desk.value("select count(*) from outbox") == 1
    assert await unsent(desk) == 1
    assert await desk.value("select count(*) from transactions") == 2


async def test_more_than_a_page_is_published(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.bank.outbox.PAGE_ROWS_MAX", 7)
    proof, card = await desk.issue(limit_minor=10**6)
    answers: list[Any] = [await desk.payments.pay(payment(proof, 1)) for _ in range(20)]
    assert await desk.outbox.publish() is Published.ALL
    assert order_of(desk.sink.events, card.token) == [answer.id for answer in answers]


async def test_the_last_calls_before_the_end_are_published(desk: Desk) -> None:
    proof, _ = await desk.issue()
    await desk.merchant.pay(proof)
    await desk.outbox.finish()
    assert len(desk.sink.events) == 1
    await desk.merchant.pay(proof)
    desk.sink.down = True
    await desk.outbox.finish()
    assert await unsent(desk) == 1


async def test_the_trace_of_one_event_does_not_leak_into_another(desk: Desk) -> None:
    trace.enter("00-" + "c" * 32 + "-" + "d" * 16 + "-00")
    proof, _ = await desk.issue()
    await desk.payments.pay(payment(proof, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-00"))
    await desk.payments.pay(payment(proof, traceparent="00-" + "3" * 32 + "-" + "4" * 16 + "-00"))
    await desk.outbox.publish()
    assert [event.extensions["traceparent"][3] for event in desk.sink.events] == ["1", "3"]
