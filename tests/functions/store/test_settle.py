"""settle: orders follow what the bank decided, whatever is heard, in whatever order, however often."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from functions.domain.event import PAYMENT_APPROVED, PAYMENT_DECLINED, PAYMENT_REFUNDED
from functions.domain.order import Decision, OrderStatus
from functions.domain.payment import transaction_id_of
from functions.runtime.database import Database
from functions.runtime.event import Event
from functions.store.charges import payment_id_of
from functions.store.order_form import OrderForm
from functions.store.orders import Order, Orders
from local.engines.engine import free_port
from tests.functions.events import event_of
from tests.functions.steps import Steps, deliver

pytestmark = pytest.mark.anyio

Place = Callable[[], Awaitable[Order]]


@pytest.fixture
def settle(database: Database, steps: Steps) -> httpx.AsyncClient:
    return steps.client("settle")


@pytest.fixture
def place(orders: Orders, order_body: Callable[..., dict[str, Any]]) -> Place:
    """Places a pending order of 1990 minor units and more."""

    async def make() -> Order:
        request, _ = OrderForm.model_validate_json(_json(order_body())).read(dt.datetime.now(dt.UTC))
        return (await orders.place(str(uuid.uuid4()), request)).order

    return make


def _json(body: dict[str, Any]) -> bytes:
    return httpx.Request("POST", "http://codebank.test", json=body).content


def of(order: Order) -> dict[str, Any]:
    """What the bank's events say of the order's payment."""
    return {
        "order_id": str(order.id),
        "transaction_id": payment_id_of(order.id),
        "amount_minor": order.total_minor,
        "currency": order.currency,
    }


def approved(order: Order, **fields: Any) -> Event:
    content = of(order)
    return event_of(PAYMENT_APPROVED, **(content | fields))


def declined(order: Order, **fields: Any) -> Event:
    content = of(order)
    return event_of(PAYMENT_DECLINED, **(content | fields))


def refunded(payment: Event, amount_minor: int, **fields: Any) -> Event:
    paid = payment.transaction()
    content = {"order_id": paid.order_id, "refund_of": paid.transaction_id, "amount_minor": amount_minor}
    return event_of(PAYMENT_REFUNDED, **(content | fields))


async def state(orders: Orders, order: Order) -> tuple[str, int]:
    found = (await orders.find(order.id)).order
    return found.status, found.refunded_minor


async def test_an_approved_payment_approves_the_order(settle: httpx.AsyncClient, orders: Orders, place: Place) -> None:
    order = await place()
    event = approved(order)
    assert (await deliver(settle, event)).status_code == 200
    found = (await orders.find(order.id)).order
    assert (found.status, found.transaction_id) == ("approved", event.transaction().transaction_id)


async def test_a_declined_payment_declines_the_order_with_the_reason(
    settle: httpx.AsyncClient, orders: Orders, place: Place
) -> None:
    order = await place()
    assert (await deliver(settle, declined(order, decline_code="card_blocked"))).status_code == 200
    found = (await orders.find(order.id)).order
    assert (found.status, found.decline_code) == ("declined", "card_blocked")


async def test_refunds_add_up_until_the_order_is_refunded(
    settle: httpx.AsyncClient, orders: Orders, place: Place
) -> None:
    order = await place()
    payment = approved(order)
    parts = [refunded(payment, 100), refunded(payment, 200), refunded(payment, order.total_minor - 300)]
    states = []
    for event in (payment, *parts):
        assert (await deliver(settle, event)).status_code == 200
        states.append(await state(orders, order))
    assert states == [("approved", 0), ("approved", 100), ("approved", 300), ("refunded", order.total_minor)]


async def test_any_order_of_arrival_with_repeats_leads_to_the_same(
    settle: httpx.AsyncClient, orders: Orders, place: Place
) -> None:
    for arrival in itertools.permutations(range(3)):
        order = await place()
        payment = approved(order)
        events = [payment, refunded(payment, 100), refunded(payment, order.total_minor - 100)]
        repeated = [events[index] for index in arrival for _ in range(2)] + events
        assert {(await deliver(settle, event)).status_code for event in repeated} == {200}
        assert await state(orders, order) == ("refunded", order.total_minor)


async def test_repeats_that_come_at_the_same_time_count_once(
    settle: httpx.AsyncClient, orders: Orders, place: Place
) -> None:
    order = await place()
    payment = approved(order)
    events = [payment, *(refunded(payment, amount) for amount in (1, 10, 100))] * 5
    random.shuffle(events)
    answers = await asyncio.gather(*(deliver(settle, event) for event in events))
    assert {answer.status_code for answer in answers} == {200}
    assert await state(orders, order) == ("approved", 111)


async def test_events_and_a_checkout_that_settle_at_the_same_time_agree(
    settle: httpx.AsyncClient, orders: Orders, place: Place
) -> None:
    order = await place()
    payment = approved(order)
    data = payment.transaction()
    decision = Decision(OrderStatus.APPROVED, data.transaction_id)
    await asyncio.gather(orders.settle(order.id, decision), deliver(settle, payment), orders.settle(order.id, decision))
    assert await state(orders, order) == ("approved", 0)


@pytest.mark.parametrize("order_id", [None, "", "an order of someone else", str(uuid.uuid4()), "x" * 64])
@pytest.mark.parametrize("event_type", [PAYMENT_APPROVED, PAYMENT_DECLINED, PAYMENT_REFUNDED])
async def test_what_is_no_order_of_this_store_is_done_with(
    settle: httpx.AsyncClient, event_type: str, order_id: str | None
) -> None:
    assert (await deliver(settle, event_of(event_type, order_id=order_id))).status_code == 200


async def test_another_merchant_s_payment_that_names_our_order_changes_nothing(
    settle: httpx.AsyncClient, orders: Orders, place: Place
) -> None:
    pending, paid = await place(), await place()
    await deliver(settle, approved(paid))
    theirs = approved(pending, transaction_id=transaction_id_of("another", f"order-{pending.id}"))
    for event in (theirs, refunded(theirs, 1), declined(pending, transaction_id=str(uuid.uuid4()))):
        assert (await deliver(settle, event)).status_code == 200
    assert (await deliver(settle, refunded(approved(paid), 1, refund_of=str(uuid.uuid4())))).status_code == 200
    assert await state(orders, pending) == ("pending", 0)
    assert await state(orders, paid) == ("approved", 0)


async def test_what_contradicts_the_order_is_for_people_to_look_at_and_changes_nothing(
    settle: httpx.AsyncClient, orders: Orders, place: Place
) -> None:
    paid, refused, ended = await place(), await place(), await place()
    payment = approved(paid)
    await deliver(settle, payment)
    await deliver(settle, declined(refused))
    await orders.settle(ended.id, Decision(OrderStatus.EXPIRED))
    contradictions = [
        declined(paid),
        refunded(payment, paid.total_minor + 1),
        refunded(payment, 1, currency="EUR"),
        approved(refused),
        refunded(approved(refused), 1),
        approved(ended),
    ]
    assert [(await deliver(settle, event)).status_code for event in contradictions] == [422] * len(contradictions)
    assert await state(orders, paid) == ("approved", 0)
    assert await state(orders, refused) == ("declined", 0)
    assert await state(orders, ended) == ("expired", 0)


@pytest.mark.parametrize("fields", [{"amount_minor": 1}, {"currency": "EUR"}])
async def test_another_amount_does_not_pay_an_order(
    settle: httpx.AsyncClient, orders: Orders, place: Place, fields: dict[str, Any]
) -> None:
    order = await place()
    assert (await deliver(settle, approved(order, **fields))).status_code == 422
    assert await state(orders, order) == ("pending", 0)


async def test_a_malformed_event_is_dead_lettered_and_not_tried_again(
    settle: httpx.AsyncClient, orders: Orders, place: Place
) -> None:
    order = await place()
    good = approved(order)
    assert good.data is not None
    wrong = [
        Event("1", good.source, "codebank.payment.unheard.v1", data=good.data),
        Event("2", good.source, PAYMENT_APPROVED, data=b"{"),
        Event("3", good.source, PAYMENT_APPROVED, data=b"[]"),
        Event("4", good.source, PAYMENT_APPROVED, data=b""),
        Event("5", good.source, PAYMENT_APPROVED, data=good.data.replace(b'"BRL"', b'"ABC"')),
        Event("6", good.source, PAYMENT_DECLINED, data=good.data),
    ]
    assert [(await deliver(settle, event)).status_code for event in wrong] == [422] * len(wrong)
    assert await state(orders, order) == ("pending", 0)


async def test_without_its_database_an_event_is_to_be_tried_again(
    settle: httpx.AsyncClient, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = approved(await place())
    monkeypatch.setenv("STORE_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    answer = await deliver(settle, event)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
