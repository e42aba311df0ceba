"""Group commit: shared commits, separate fates, several banks on one ledger, a database that goes away."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from functions.bank import payments as group_commit
from functions.bank.books import Books
from functions.bank.database import Connection, Database
from functions.bank.ledger import Cancel, KeyFenced, Ledger, Pages, Refund, Transaction
from functions.bank.payments import DeadlinePassed, Payments
from functions.domain.error import Unavailable
from functions.domain.payment import DeclineCode
from protos.codebank.bank.v1 import bank_pb2 as pb
from tests.functions.bank.desk import Desk, code_of, fresh_key, open_desk, pay_request, payment, together
from tests.functions.bank.wire import Wire
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def second(desk: Desk, bank_url: str) -> AsyncIterator[Payments]:
    """Another bank on the same database."""
    database = Database(bank_url, 4)
    yield Payments(database, desk.keys)
    await database.close()


def now() -> float:
    """The event loop's clock, by which deadlines are."""
    return asyncio.get_running_loop().time()


async def test_payments_at_once_share_commits(desk: Desk) -> None:
    proof, _ = await desk.issue(limit_minor=100)
    transactions = await together(*(desk.payments.pay(payment(proof, 1)) for _ in range(100)))
    assert all(transaction.decline_code is None for transaction in transactions)
    assert await desk.value("select count(distinct xmin::text) from transactions") < 20
    await desk.assert_books()


async def test_two_banks_racing_for_one_card_never_overspend_it(desk: Desk, second: Payments) -> None:
    proof, card = await desk.issue(limit_minor=50)
    answers = await together(*(bank.pay(payment(proof, 1)) for _ in range(60) for bank in (desk.payments, second)))
    codes = [answer.decline_code for answer in answers]
    assert codes.count(None) == 50
    assert codes.count(DeclineCode.INSUFFICIENT_FUNDS) == 70
    assert await desk.value("select balance_minor from cards where token = $1", card.token) == -50
    await desk.assert_books()


async def test_two_banks_on_many_cards_do_not_wait_in_a_circle(desk: Desk, second: Payments) -> None:
    proofs = [(await desk.issue(limit_minor=10**6))[0] for _ in range(8)]
    requests = [payment(proofs[number % 8], 1) for number in range(160)]
    backwards = [payment(proofs[-1 - number % 8], 1, merchant="other") for number in range(160)]
    answers = await together(
        *(desk.payments.pay(request) for request in requests), *(second.pay(request) for request in backwards)
    )
    assert [answer for answer in answers if not isinstance(answer, Transaction)] == []
    await desk.assert_books()


async def test_one_key_at_two_banks_is_one_payment(desk: Desk, second: Payments) -> None:
    proof, card = await desk.issue(limit_minor=10**6)
    for _ in range(20):
        request = payment(proof, 10)
        first, other = await together(desk.payments.pay(request), second.pay(replace(request)))
        assert first == other
    assert await desk.value("select balance_minor from cards where token = $1", card.token) == -200
    await desk.assert_books()


async def test_of_a_payment_and_a_cancel_at_two_banks_one_is_first(desk: Desk, second: Payments) -> None:
    proof, _ = await desk.issue(limit_minor=10**6)
    outcomes = set()
    for _ in range(20):
        request = payment(proof, 10)
        paid, cancelled = await together(desk.payments.pay(request), second.cancel(Cancel(request.id, "shop", None)))
        outcomes.add(type(paid))
        assert cancelled == (None if isinstance(paid, KeyFenced) else paid)
    assert outcomes <= {Transaction, KeyFenced}
    await desk.assert_books()


async def test_refunds_at_two_banks_never_give_back_more_than_was_paid(desk: Desk, second: Payments) -> None:
    proof, card = await desk.issue(limit_minor=1000)
    paid = await desk.payments.pay(payment(proof, 1000))
    refunds = [Refund(payment(proof).id, "shop", paid.id, 70, None, None) for _ in range(30)]
    answers = await together(
        *((desk.payments if number % 2 else second).refund(refund) for number, refund in enumerate(refunds))
    )
    assert sum(isinstance(answer, Transaction) for answer in answers) == 14
    assert await desk.value("select balance_minor from cards where token = $1", card.token) == -20
    await desk.assert_books()


async def test_wrong_guesses_at_two_banks_are_all_counted(desk: Desk, second: Payments) -> None:
    proof, card = await desk.issue()
    wrong = replace(proof, expiry=replace(proof.expiry, month=proof.expiry.month % 12 + 1))
    answers = await together(*((desk.payments if number % 2 else second).pay(payment(wrong)) for number in range(10)))
    codes = [answer.decline_code for answer in answers]
    assert codes.count(DeclineCode.INCORRECT_CVC) == 3
    assert await desk.value("select wrong_cvvs from cards where token = $1", card.token) == 3


async def test_one_request_that_the_database_refuses_does_not_spoil_its_batch(desk: Desk) -> None:
    proof, _ = await desk.issue()
    # The protocol's checks let no NUL through, which PostgreSQL's text cannot hold.
    poison = payment(proof, description="a\0b")
    answers = await together(*(desk.payments.pay(request) for request in (payment(proof), poison, payment(proof))))
    assert [isinstance(answer, Transaction) for answer in answers] == [True, False, True]
    assert await desk.value("select count(*) from transactions") == 2
    await desk.assert_books()


async def test_a_call_whose_deadline_has_passed_is_not_applied(desk: Desk) -> None:
    proof, _ = await desk.issue()
    late = payment(proof, deadline=now() - 0.001)
    answers = await together(
        desk.payments.pay(payment(proof)), desk.payments.pay(late), desk.payments.pay(payment(proof))
    )
    assert [isinstance(answer, Transaction) for answer in answers] == [True, False, True]
    assert isinstance(answers[1], DeadlinePassed)
    assert await desk.value("select count(*) from transactions") == 2


async def test_a_deadline_that_passes_while_the_batch_is_decided_is_honoured(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof, card = await desk.issue()
    soon = payment(proof, deadline=now() + 3600)
    patient = payment(proof)
    read = Books.read

    async def slow_read(
        self: Books, connection: Connection, requests: Sequence[object], keyring: object, *, locking: bool
    ) -> Pages:
        pages = await read(self, connection, requests, keyring, locking=locking)  # type: ignore[arg-type]
        soon.deadline = now()
        return pages

    monkeypatch.setattr(Books, "read", slow_read)
    answers = await together(desk.payments.pay(patient), desk.payments.pay(soon))
    assert isinstance(answers[0], Transaction)
    assert isinstance(answers[1], DeadlinePassed)
    assert await desk.value("select balance_minor from cards where token = $1", card.token) == -100


async def test_a_cancelled_call_that_waits_is_not_applied(desk: Desk) -> None:
    proof, _ = await desk.issue()
    first = asyncio.create_task(desk.payments.pay(payment(proof)))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(desk.payments.pay(payment(proof)))
    await asyncio.sleep(0)
    waiting.cancel()
    await first
    await desk.payments.pay(payment(proof))
    assert await desk.value("select count(*) from transactions") == 2


async def test_after_a_crash_between_commit_and_answer_a_repeat_is_given_the_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof, card = await desk.issue()
    write = Books.write

    async def lost_answer(self: Books, connection: Connection, pages: Pages, ledger: Ledger) -> bool:
        await write(self, connection, pages, ledger)
        raise ConnectionResetError

    request = pay_request(proof, 100)
    with monkeypatch.context() as patch:
        patch.setattr(Books, "write", lost_answer)
        [lost] = await together(desk.merchant.call("Pay", request))
    assert code_of(lost) is grpc.StatusCode.UNAVAILABLE
    assert await desk.value("select balance_minor from cards where token = $1", card.token) == -100
    answer = await desk.merchant.call("Pay", request)
    assert answer.status == pb.TRANSACTION_STATUS_APPROVED
    assert await desk.value("select balance_minor from cards where token = $1", card.token) == -100
    await desk.assert_books()


async def test_the_bank_outlives_its_database(bank_url: str, keys_path: Path) -> None:
    wire = Wire(bank_url)
    await wire.connect()
    desk = await open_desk(wire.url, keys_path)
    try:
        proof, _ = await desk.issue()
        await desk.merchant.pay(proof)
        await wire.cut()
        request = pay_request(proof)
        answers = await together(
            desk.merchant.call("Pay", request),
            desk.merchant.call("ListTransactions", pb.ListTransactionsRequest()),
            desk.operator.call("IssueCard", pb.IssueCardRequest(name="Ana", currency="BRL")),
        )
        assert set(map(code_of, answers)) == {grpc.StatusCode.UNAVAILABLE}
        await wire.connect()

        async def is_back() -> bool:
            [answer] = await together(desk.merchant.call("Pay", request))
            return code_of(answer) is grpc.StatusCode.OK

        await until(is_back, "payments are answered again")
        assert await desk.value("select count(*) from transactions") == 2
        await desk.assert_books()
    finally:
        await desk.close()
        await wire.cut()


async def test_a_batch_whose_card_is_always_changed_by_another_gives_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof, _ = await desk.issue()

    async def never(self: Books, connection: Connection, pages: Pages, ledger: Ledger) -> bool:
        return False

    monkeypatch.setattr(Books, "write", never)
    with pytest.raises(Unavailable):
        await desk.payments.pay(payment(proof))
    assert await desk.value("select count(*) from transactions") == 0


async def test_more_calls_than_may_wait_are_told_to_come_again(desk: Desk) -> None:
    proof, _ = await desk.issue(limit_minor=10**9)
    limit = group_commit.WAITING_REQUESTS_MAX
    answers = await together(*(desk.payments.pay(payment(proof, 1)) for _ in range(limit + 10)))
    refused = [answer for answer in answers if not isinstance(answer, Transaction)]
    assert 0 < len(refused) <= 10
    assert {type(answer).__name__ for answer in refused} == {"Busy"}


async def test_for_each_card_moments_ascend_as_numbers_do(desk: Desk, second: Payments) -> None:
    proof, _ = await desk.issue(limit_minor=10**6)
    await together(*((desk.payments if number % 2 else second).pay(payment(proof)) for number in range(100)))
    rows = await desk.fetch("select created_at from transactions order by number")
    moments = [row["created_at"] for row in rows]
    assert moments == sorted(moments)
    assert all(moment.tzinfo == dt.UTC for moment in moments)


async def test_a_call_with_no_time_left_is_told_so_over_the_wire(desk: Desk) -> None:
    proof, _ = await desk.issue()
    [answer] = await together(desk.merchant.call("Pay", pay_request(proof, idempotency_key=fresh_key()), timeout=0.0))
    assert code_of(answer) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await desk.value("select count(*) from transactions") == 0
