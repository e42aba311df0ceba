"""expire: orders that were left pending come to their end."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import httpx
import pytest

from functions.runtime.bank import Bank
from functions.runtime.database import Database
from functions.runtime.event import Event
from functions.store.charges import Charges
from functions.store.orders import Orders
from protos.codebank.bank.v1 import bank_pb2
from tests.functions.fake_bank import MERCHANT_TOKEN, FakeBank
from tests.functions.steps import Steps, deliver
from tests.waiting import until

pytestmark = pytest.mark.anyio

PING = Event("1", "/pings/expire", "dev.knative.sources.ping", data=b"{}")

LeavePending = Callable[[], Any]


@pytest.fixture
def expire(database: Database, bank: FakeBank, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    monkeypatch.setenv("PENDING_SECONDS", "0")
    return steps.client("expire")


@pytest.fixture
async def checkout(
    database: Database, bank: FakeBank, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    client, channel = steps.client("checkout"), Bank(bank.address, MERCHANT_TOKEN)
    monkeypatch.setattr(sys.modules["checkout"], "charges", lambda: Charges(channel, timeout_seconds=0.3))
    yield client
    await channel.close()


@pytest.fixture
def buy(checkout: httpx.AsyncClient, order_body: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Places an order."""

    async def place(key: str | None = None, body: dict[str, Any] | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return await checkout.post("/api/orders", json=body or order_body(), headers=headers)

    return place


async def status_of(orders: Orders, answer: httpx.Response) -> str:
    return (await orders.find(uuid.UUID(answer.json()["id"]))).order.status


async def test_an_order_whose_charge_never_reached_the_bank_expires_and_is_never_charged(
    expire: httpx.AsyncClient, bank: FakeBank, buy: Callable[..., Any], orders: Orders
) -> None:
    bank.refuse_with = (grpc.StatusCode.UNAVAILABLE, "away")
    pending = await buy()
    assert (await deliver(expire, PING)).status_code == 200
    assert await status_of(orders, pending) == "expired"
    assert len(bank.fenced) == 1


@pytest.mark.parametrize(
    ("decline_code", "status"), [(None, "approved"), (bank_pb2.DECLINE_CODE_EXPIRED_CARD, "declined")]
)
async def test_an_order_whose_answer_was_lost_gets_what_the_bank_decided(
    expire: httpx.AsyncClient,
    bank: FakeBank,
    buy: Callable[..., Any],
    orders: Orders,
    decline_code: int | None,
    status: str,
) -> None:
    bank.decline_code, bank.lost_answers = decline_code, 1
    pending = await buy()
    assert (pending.status_code, await status_of(orders, pending)) == (202, "pending")
    assert (await deliver(expire, PING)).status_code == 200
    assert await status_of(orders, pending) == status
    assert not bank.fenced


async def test_a_charge_that_is_still_on_its_way_is_refused_once_the_order_has_expired(
    expire: httpx.AsyncClient, bank: FakeBank, buy: Callable[..., Any], order_body: Callable[..., dict[str, Any]]
) -> None:
    key, body = str(uuid.uuid4()), order_body()
    bank.refuse_with = (grpc.StatusCode.UNAVAILABLE, "away")
    await buy(key, body)
    await deliver(expire, PING)
    bank.refuse_with = None
    late = await buy(key, body)
    assert (late.status_code, late.json()["order"]["status"]) == (409, "expired")
    assert not bank.transactions


async def test_a_late_charge_that_meets_the_fence_before_the_order_has_expired_is_refused_too(
    expire: httpx.AsyncClient, bank: FakeBank, buy: Callable[..., Any], order_body: Callable[..., dict[str, Any]]
) -> None:
    key, body = str(uuid.uuid4()), order_body()
    bank.refuse_with = (grpc.StatusCode.UNAVAILABLE, "away")
    await buy(key, body)
    bank.refuse_with = None
    late, run = await asyncio.gather(buy(key, body), deliver(expire, PING))
    assert run.status_code == 200
    assert (late.status_code, bool(bank.transactions), bool(bank.fenced)) in [(201, True, False), (409, False, True)]


async def test_young_orders_are_left_alone(
    expire: httpx.AsyncClient,
    bank: FakeBank,
    buy: Callable[..., Any],
    orders: Orders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PENDING_SECONDS")
    bank.refuse_with = (grpc.StatusCode.UNAVAILABLE, "away")
    pending = await buy()
    assert (await deliver(expire, PING)).status_code == 200
    assert await status_of(orders, pending) == "pending"
    assert not bank.fenced


async def test_while_the_bank_is_away_orders_wait_and_later_they_are_ended(
    expire: httpx.AsyncClient, bank: FakeBank, buy: Callable[..., Any], orders: Orders
) -> None:
    bank.lost_answers = 1
    pending = await buy()
    await bank.stop()
    answer = await deliver(expire, PING)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert await status_of(orders, pending) == "pending"
    await bank.start()

    async def ended() -> bool:
        return (await deliver(expire, PING)).status_code == 200

    await until(ended, "the bank is found again")
    assert await status_of(orders, pending) == "approved"


async def test_more_orders_than_a_page_are_ended_in_one_run(
    expire: httpx.AsyncClient, database: Database, buy: Callable[..., Any], bank: FakeBank
) -> None:
    bank.lost_answers = 1
    await buy()
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(
            """
            insert into orders (id, idempotency_key, request_digest, status, total_minor, currency, card_brand,
                card_last4, created_at)
            select gen_random_uuid(), 'another key, number ' || n, request_digest, status, total_minor, currency,
                card_brand, card_last4, created_at from orders, generate_series(1, 70) n
            """
        )
    assert (await deliver(expire, PING)).status_code == 200
    async with database.engine.begin() as connection:
        found = await connection.exec_driver_sql("select status, count(*) from orders group by status order by status")
        assert [tuple(row) for row in found] == [("approved", 1), ("expired", 70)]


async def test_a_bank_that_does_not_know_the_shop_is_our_fault(
    expire: httpx.AsyncClient,
    bank: FakeBank,
    buy: Callable[..., Any],
    orders: Orders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank.lost_answers = 1
    pending = await buy()
    monkeypatch.setenv("BANK_TOKEN", "a-token-that-has-expired")
    assert (await deliver(expire, PING)).status_code == 500
    assert await status_of(orders, pending) == "pending"
