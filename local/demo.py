"""./task demo: shoppers who buy with the demo cards, and cardholders who wait for their statements."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, Final

import httpx
from tqdm import tqdm

from local.cards import demo_cards
from local.folder import State

POLL_SECONDS: Final = 0.1
STATEMENT_SECONDS_MAX: Final = 60.0
REQUEST_TIMEOUT_SECONDS: Final = 30.0
PRODUCTS_PER_ORDER_MAX: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The demo's options."""
    parser.add_argument("--orders", type=int, default=200, help="how many orders (200)")
    parser.add_argument("--concurrency", type=int, default=8, help="how many shoppers at once (8)")
    parser.add_argument("--seed", type=int, default=None, help="makes the choice of products and cards repeatable")


@dataclass
class Report:
    """What was measured. Times are in seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    answer_seconds: list[float] = field(default_factory=list)
    statement_seconds: list[float] = field(default_factory=list)
    missing: int = 0

    def print(self) -> None:
        """The summary."""
        print("orders     " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items())))
        print("answer     " + _percentiles(self.answer_seconds))
        print("statement  " + _percentiles(self.statement_seconds) + f"   (looked every {POLL_SECONDS * 1000:.0f} ms)")
        if self.missing:
            print(f"{self.missing} approved orders were not on a statement after {STATEMENT_SECONDS_MAX:.0f} s")


def _percentiles(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "too few to say"
    cuts = quantiles(seconds, n=100, method="inclusive")
    return f"p50 {cuts[49] * 1000:6.1f} ms   p99 {cuts[98] * 1000:6.1f} ms"


class Cardholder:
    """Watches one card's statement for the transactions that its shoppers made."""

    def __init__(self, client: httpx.AsyncClient, card: dict[str, Any]) -> None:
        self.card = card
        self._client = client
        self._awaited: dict[str, asyncio.Future[float]] = {}
        self._seen: dict[str, float] = {}
        self._token = ""
        self._after: str | None = None

    async def sign_in(self) -> None:
        """Proves the card and moves to the end of its statement."""
        proof = {name: self.card[name] for name in ("number", "expiration_month", "expiration_year", "cvv")}
        answer = await self._client.post("/api/session", json=proof)
        answer.raise_for_status()
        self._token = answer.json()["token"]
        while await self._look():
            pass

    async def appears(self, transaction_id: str) -> float:
        """Waits until the transaction is on the statement; answers when it was seen there."""
        if transaction_id in self._seen:
            return self._seen[transaction_id]
        future = self._awaited.setdefault(transaction_id, asyncio.get_running_loop().create_future())
        return await asyncio.wait_for(asyncio.shield(future), STATEMENT_SECONDS_MAX)

    async def watch(self) -> None:
        """Looks at the statement until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(POLL_SECONDS)

    async def _look(self) -> int:
        parameters = {"after": self._after} if self._after else {}
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = await self._client.get("/api/statement", params=parameters, headers=headers)
        if answer.status_code != httpx.codes.OK:
            return 0
        page = answer.json()
        self._after = page["next"]
        now = time.perf_counter()
        for entry in page["entries"]:
            self._seen[entry["transaction_id"]] = now
            if (future := self._awaited.get(entry["transaction_id"])) and not future.done():
                future.set_result(now)
        return len(page["entries"])


async def run(state: State, arguments: argparse.Namespace) -> int:
    """Runs the demo; answers 1 where an approved order did not reach its statement."""
    choose = random.Random(arguments.seed)  # noqa: S311 - it chooses products
    report = Report()
    async with httpx.AsyncClient(base_url=state.url, timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False) as client:
        products = (await client.get("/api/products")).raise_for_status().json()["items"]
        cardholders = [Cardholder(client, card) for card in demo_cards() if card["decline_code"] is None]
        for cardholder in cardholders:
            await cardholder.sign_in()
        watching = [asyncio.create_task(cardholder.watch()) for cardholder in cardholders]
        turn = asyncio.Semaphore(arguments.concurrency)
        with tqdm(total=arguments.orders, unit="order", file=sys.stderr) as progress:

            async def shop() -> None:
                cardholder = choose.choice(cardholders)
                chosen = choose.sample(products, k=min(len(products), choose.randint(1, PRODUCTS_PER_ORDER_MAX)))
                async with turn:
                    begun = time.perf_counter()
                    transaction_id = await _buy(client, cardholder.card, chosen, report)
                    progress.update()
                if transaction_id is not None:
                    await _await_statement(cardholder, transaction_id, begun, report)

            await asyncio.gather(*(shop() for _ in range(arguments.orders)))
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
    report.print()
    return 1 if report.missing else 0


async def _buy(
    client: httpx.AsyncClient, card: dict[str, Any], products: list[dict[str, Any]], report: Report
) -> str | None:
    """Makes one order; answers the transaction's id where it was approved."""
    order = {
        "credit_card": {name: card[name] for name in ("name", "number", "expiration_month", "expiration_year", "cvv")},
        "items": [{"product_id": product["id"], "quantity": 1} for product in products],
    }
    begun = time.perf_counter()
    try:
        answer = await client.post("/api/orders", json=order, headers={"Idempotency-Key": str(uuid.uuid4())})
    except httpx.HTTPError as error:
        report.outcomes[f"failed ({type(error).__name__})"] += 1
        return None
    report.answer_seconds.append(time.perf_counter() - begun)
    content = answer.json()
    if answer.status_code == httpx.codes.CREATED:
        report.outcomes["approved"] += 1
        transaction_id: str = content["transaction_id"]
        return transaction_id
    if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
        report.outcomes[f"declined ({content['decline_code']})"] += 1
    else:
        report.outcomes["pending" if answer.is_success else f"refused ({answer.status_code})"] += 1
    return None


async def _await_statement(cardholder: Cardholder, transaction_id: str, begun: float, report: Report) -> None:
    try:
        report.statement_seconds.append(await cardholder.appears(transaction_id) - begun)
    except TimeoutError:
        report.missing += 1
