"""Promises 1, 2, 3 and 6 under SIGKILL: each process in turn, then the supervisor with all of them, amid orders."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.folder import NotRunning
from tests.flow.books import Books, read_books
from tests.flow.shopping import Cardholder, Shopper, order_body
from tests.running import RunningSystem
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.system]

SHOPPERS = 4
ORDERS_BETWEEN_CRASHES = 12
RETRY_SECONDS = 0.1


@pytest.fixture
def own_system(tmp_path: Path) -> Iterator[RunningSystem]:
    """A system that this test may break."""
    running = RunningSystem(tmp_path)
    running.start()
    yield running
    assert running.stop() == 0, running.tail()


@dataclass
class Market:
    """Shoppers who keep buying, and remember what they were answered."""

    system: RunningSystem
    cards: list[dict[str, Any]]
    product_ids: list[str]
    choose: random.Random
    approved: dict[str, int] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)
    answered: int = 0
    closed: bool = False

    async def shop(self) -> None:
        """Buys until the market closes; each order is repeated under its key until there is an answer."""
        while not self.closed:
            body = order_body(self.choose.choice(self.cards), self.choose.choice(self.product_ids))
            key = str(uuid.uuid4())
            while not await self._answered(body, key):  # noqa: ASYNC110 - a shopper's own patience
                await asyncio.sleep(RETRY_SECONDS)

    async def _answered(self, body: dict[str, Any], key: str) -> bool:
        try:
            async with httpx.AsyncClient(base_url=self.system.url, timeout=30) as client:
                answer = await Shopper(client).order(body, key)
        except (httpx.HTTPError, NotRunning):
            return False
        self.answers[answer.status_code] += 1
        if answer.status_code == httpx.codes.CREATED:
            self.approved[answer.json()["id"]] = answer.json()["total_minor"]
        elif answer.status_code == httpx.codes.ACCEPTED:
            self.pending.add(answer.json()["id"])
        else:
            assert answer.status_code in {402, 429, 502, 503, 504}, answer.text
            return answer.status_code == httpx.codes.PAYMENT_REQUIRED
        self.answered += 1
        return True

    async def some_orders(self) -> None:
        """Waits until more orders were answered."""
        wanted = self.answered + ORDERS_BETWEEN_CRASHES
        await until(lambda: self.answered >= wanted, "orders are answered")


async def test_every_process_is_killed_in_turn_and_nothing_accepted_is_lost_or_done_twice(
    own_system: RunningSystem,
) -> None:
    system = own_system
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        product_ids = [product["id"] for product in await Shopper(client).products()]
    cards = [card for card in system.cards() if card["decline_code"] is None][:3]
    market = Market(system, cards, product_ids, random.Random(7))  # noqa: S311 - it chooses products
    shoppers = [asyncio.create_task(market.shop()) for _ in range(SHOPPERS)]

    await market.some_orders()
    for name in [service["name"] for service in system.status()["services"]]:
        instances = next(s for s in system.status()["services"] if s["name"] == name)["instances"]
        for instance in instances:
            os.kill(instance["pid"], signal.SIGKILL)
        await market.some_orders()

    os.kill(int((system.folder.postgresql / "data" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    await market.some_orders()

    system.kill()
    system.start()
    await market.some_orders()

    market.closed = True
    await asyncio.gather(*shoppers)
    await compare(system, market)


async def compare(system: RunningSystem, market: Market) -> None:
    """Ledger, orders and statements tell the same story."""

    async def published() -> Books | None:
        books = await read_books(system)
        return books if books.unpublished == 0 else None

    async def caught_up() -> bool:
        return all(source["lag"] == 0 for source in system.status()["sources"])

    books = await until(published, "the outbox is empty")
    await until(caught_up, "every source has caught up")
    assert books.unbalanced_transactions == 0
    assert books.wrong_balances == 0
    assert market.approved.items() <= books.approved.items(), "an approved order is not in the ledger"

    posted: Counter[str] = Counter()
    amounts: dict[str, int] = {}
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        for card in market.cards:
            cardholder = Cardholder(client, card)
            await cardholder.sign_in()
            for entry in await cardholder.entries():
                posted[entry["order_id"]] += 1
                amounts[entry["order_id"]] = entry["amount_minor"]
        assert amounts == books.approved, "the statements are not what the ledger says"
        assert set(posted.values()) == {1}, "something is on a statement twice"
        for order_id in market.approved.keys() | books.approved.keys():
            order = (await client.get(f"/api/orders/{order_id}")).raise_for_status().json()
            assert order["status"] == "approved"
    assert all(source["dead_letters"] == 0 for source in system.status()["sources"])
    print(f"answers {dict(market.answers)}; {len(market.approved)} approved; {len(market.pending)} were pending")
