"""post: one entry for each event, however often, in whatever order and company it comes."""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections import Counter
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import IntegrityError

from functions.domain.event import PAYMENT_APPROVED, PAYMENT_DECLINED, PAYMENT_REFUNDED
from functions.runtime.database import Database
from functions.runtime.event import Event
from functions.runtime.migrate import migrate
from functions.statement.entries import Bounds, Entries, Entry, add
from local.engines.engine import free_port
from tests.functions.events import event_of
from tests.functions.schema import differences
from tests.functions.steps import deliver
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def card_token() -> str:
    """A card of the test's own."""
    return str(uuid.uuid4())


async def of(entries: Entries, card_token: str, after: int = 0) -> list[Entry]:
    last_position = await entries.last_position(card_token)
    return list(await entries.page(card_token, Bounds(after, last_position, None, None), limit=10_000))


async def test_a_payment_and_its_refund_are_two_entries(
    post: httpx.AsyncClient, entries: Entries, card_token: str
) -> None:
    payment = event_of(card_token=card_token, order_id="order-1", description="Chess set", amount_minor=45_900)
    paid = payment.transaction()
    refund = event_of(
        PAYMENT_REFUNDED, card_token=card_token, order_id="order-1", refund_of=paid.transaction_id, amount_minor=900
    )
    assert [(await deliver(post, event)).status_code for event in (payment, refund)] == [200, 200]
    first, second = await of(entries, card_token)
    assert (first.kind, first.transaction_id, first.amount_minor) == ("payment", paid.transaction_id, 45_900)
    assert (first.store, first.description, first.refund_of) == ("Codeshop", "Chess set", None)
    assert first.payment_date == paid.payment_date
    assert (second.kind, second.refund_of, second.amount_minor) == ("refund", paid.transaction_id, 900)
    assert first.position < second.position


async def test_a_declined_payment_leaves_no_entry(post: httpx.AsyncClient, entries: Entries, card_token: str) -> None:
    assert (await deliver(post, event_of(PAYMENT_DECLINED, card_token=card_token))).status_code == 200
    assert await of(entries, card_token) == []


async def test_a_declined_payment_of_an_unknown_card_is_done_with(post: httpx.AsyncClient) -> None:
    nobody = {"token": None, "brand": None, "last4": None}
    assert (await deliver(post, event_of(PAYMENT_DECLINED, card=nobody))).status_code == 200


async def test_a_replayed_event_is_posted_once(post: httpx.AsyncClient, entries: Entries, card_token: str) -> None:
    event = event_of(card_token=card_token)
    assert {(await deliver(post, event)).status_code for _ in range(3)} == {200}
    assert len(await of(entries, card_token)) == 1
    assert await entries.last_position(card_token) == 1


async def test_events_that_come_twice_and_mixed_up_at_the_same_time_are_posted_once(
    post: httpx.AsyncClient, entries: Entries, card_token: str
) -> None:
    cards = [str(uuid.uuid4()) for _ in range(5)]
    events = [event_of(card_token=card) for card in cards for _ in range(20)] * 2
    random.shuffle(events)
    answers = await asyncio.gather(*(deliver(post, event) for event in events))
    assert {answer.status_code for answer in answers} == {200}
    for card in cards:
        found = await of(entries, card)
        assert len(found) == len({entry.id for entry in found}) == 20
        assert [entry.position for entry in found] == list(range(1, 21))


async def test_several_writers_at_once_post_each_event_once(database: Database) -> None:
    writers = [Entries(database) for _ in range(4)]
    cards = [str(uuid.uuid4()) for _ in range(8)]
    made = [entry(card) for card in cards for _ in range(25)]
    work = [(writer, entry_) for entry_ in made for writer in random.sample(writers, 2)]
    random.shuffle(work)
    await asyncio.gather(*(writer.post(copy_of(entry_)) for writer, entry_ in work))
    found = [entry_ for card in cards for entry_ in await of(writers[0], card)]
    assert Counter(entry_.id for entry_ in found) == Counter(entry_.id for entry_ in made)


async def test_who_comes_later_waits_for_who_holds_the_card_and_is_placed_behind(
    database: Database, entries: Entries, card_token: str
) -> None:
    first, second = entry(card_token), entry(card_token)
    async with database.transaction() as session:
        await add(session, [first])
        later = asyncio.create_task(entries.post(second))
        await until(lambda: is_waiting(database), "the second writer waits for the first")
        assert await of(entries, card_token) == []
    await later
    assert [(entry_.position, entry_.id) for entry_ in await of(entries, card_token)] == [(1, first.id), (2, second.id)]


async def test_writers_of_the_same_cards_never_wait_for_each_other_in_a_circle(database: Database) -> None:
    cards = sorted(str(uuid.uuid4()) for _ in range(3))

    async def write(tokens: list[str]) -> None:
        async with database.transaction() as session:
            await add(session, [entry(token) for token in tokens])

    await write(cards)
    async with database.transaction() as session:
        await add(session, [entry(cards[1])])
        both = asyncio.gather(write(cards), write(cards[::-1]))
        await until(lambda: is_waiting(database, writers=2), "both wait for who holds the card in the middle")
    await both


async def is_waiting(database: Database, *, writers: int = 1) -> bool:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    async with database.engine.connect() as connection:
        return bool((await connection.exec_driver_sql(query)).scalar() == writers)


async def test_a_polling_reader_misses_nothing_and_sees_nothing_twice_while_several_write(
    database: Database, card_token: str
) -> None:
    writers, reader = [Entries(database) for _ in range(3)], Entries(database)
    made = [[entry(card_token, amount_minor=number + 1) for number in range(60)] for _ in writers]
    seen: list[Entry] = []
    writing = asyncio.gather(*(write_all(writer, entries_) for writer, entries_ in zip(writers, made, strict=True)))

    async def has_seen_all() -> bool:
        seen.extend(await of(reader, card_token, after=seen[-1].position if seen else 0))
        return writing.done() and len(seen) >= 180

    await until(has_seen_all, "the reader has seen as many entries as there are")
    await writing
    seen.extend(await of(reader, card_token, after=seen[-1].position))
    assert Counter(entry_.id for entry_ in seen) == Counter(entry_.id for each in made for entry_ in each)


async def write_all(writer: Entries, entries: list[Entry]) -> None:
    """Writes a few at once, so that commits overlap and differ in how long they take."""
    sizes = itertools.cycle((1, 3, 2, 4))
    while entries:
        count = next(sizes)
        few, entries = entries[:count], entries[count:]
        await asyncio.gather(*(writer.post(entry_) for entry_ in few))


def entry(card_token: str, **fields: Any) -> Entry:
    content: dict[str, Any] = {
        "id": uuid.uuid4(),
        "card_token": card_token,
        "kind": "payment",
        "transaction_id": str(uuid.uuid4()),
        "order_id": None,
        "refund_of": None,
        "amount_minor": 100,
        "currency": "BRL",
        "store": "Codeshop",
        "description": "",
        "payment_date": event_of().transaction().payment_date,
    }
    return Entry(**(content | fields))


def copy_of(entry_: Entry) -> Entry:
    return Entry(**entry_.model_dump())


async def test_a_poison_event_does_not_spoil_those_that_share_its_commit(
    post: httpx.AsyncClient, entries: Entries, card_token: str
) -> None:
    poison = [event_of(card_token=card_token, description="a\0b"), event_of(card_token="c\0d")]
    good = [event_of(card_token=card_token) for _ in range(10)]
    events = [*good[:5], *poison, *good[5:]]
    answers = await asyncio.gather(*(deliver(post, event) for event in events))
    statuses = {event.id: answer.status_code for event, answer in zip(events, answers, strict=True)}
    assert {statuses[event.id] for event in good} == {200}
    assert {statuses[event.id] for event in poison} == {422}
    assert len(await of(entries, card_token)) == len(good)


async def test_a_malformed_event_is_dead_lettered_and_not_tried_again(
    post: httpx.AsyncClient, entries: Entries, card_token: str
) -> None:
    good = event_of(card_token=card_token)
    nobody = event_of(card={"token": None, "brand": None, "last4": None})
    wrong = [
        nobody,
        Event("1", good.source, "codebank.payment.unheard.v1", data=good.data),
        Event("2", good.source, PAYMENT_APPROVED, data=b"not json"),
        Event("3", good.source, PAYMENT_REFUNDED, data=good.data),
        Event("4", good.source, PAYMENT_APPROVED, data=good.data.replace(b"1990", b"-1990")),
        Event("5", good.source, PAYMENT_APPROVED, data=good.data.replace(b"1990", b"10e30")),
    ]
    assert [(await deliver(post, event)).status_code for event in wrong] == [422] * len(wrong)
    structured = {"specversion": "1.0", "id": "a\0b", "source": good.source, "type": good.type}
    envelope = structured | {"data": good.transaction().model_dump(mode="json")}
    media_type = {"Content-Type": "application/cloudevents+json"}
    assert (await post.post("/", json=envelope, headers=media_type)).status_code == 422
    assert (await post.post("/", content=b"{}")).status_code == 400
    assert (await post.post("/", content=b"x" * 2**21)).status_code == 422
    assert (await post.get("/")).status_code == 405
    assert await of(entries, card_token) == []


async def test_without_its_database_an_event_is_to_be_tried_again_and_then_it_is_posted(
    post: httpx.AsyncClient, entries: Entries, steps: Any, monkeypatch: pytest.MonkeyPatch, card_token: str
) -> None:
    event = event_of(card_token=card_token)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("STATEMENT_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
        answer = await deliver(post, event)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (await deliver(steps.client("post"), event)).status_code == 200
    assert len(await of(entries, card_token)) == 1


async def test_entries_are_only_added(database: Database, entries: Entries, card_token: str) -> None:
    await entries.post(entry(card_token))
    for statement in ("update statement_entries set amount_minor = 1", "delete from statement_entries"):
        with pytest.raises(IntegrityError, match="entries are only added"):
            async with database.engine.begin() as connection:
                await connection.exec_driver_sql(statement)


async def test_the_models_are_what_the_migrations_made(database: Database) -> None:
    await migrate("statement", database)
    assert await differences(database, {"statement_cards", "statement_entries"}) == []
