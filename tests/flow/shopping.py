"""Shopping over HTTP, as the pages do it."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

Card = dict[str, Any]


def proof(card: Card) -> dict[str, Any]:
    """What the statement's sign-in wants of a card."""
    return {name: card[name] for name in ("number", "expiration_month", "expiration_year", "cvv")}


def order_body(card: Card, product_id: str, quantity: int = 1) -> dict[str, Any]:
    """An order of one product."""
    return {
        "credit_card": {"name": card["name"], **proof(card)},
        "items": [{"product_id": product_id, "quantity": quantity}],
    }


class Shopper:
    """Buys through the public address, and repeats under the same key until there is a definite answer."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def products(self) -> list[dict[str, Any]]:
        """What the store sells."""
        items: list[dict[str, Any]] = (await self._client.get("/api/products")).raise_for_status().json()["items"]
        return items

    async def order(self, body: dict[str, Any], key: str | None = None) -> httpx.Response:
        """Posts one order once."""
        return await self._client.post("/api/orders", json=body, headers={"Idempotency-Key": key or str(uuid.uuid4())})


class Cardholder:
    """Reads one card's statement through the public address."""

    def __init__(self, client: httpx.AsyncClient, card: Card) -> None:
        self._client = client
        self._card = card
        self._token = ""

    async def sign_in(self) -> None:
        """Proves the card."""
        answer = await self._client.post("/api/session", json=proof(self._card))
        self._token = answer.raise_for_status().json()["token"]

    async def entries(self) -> list[dict[str, Any]]:
        """The whole statement, page by page."""
        entries: list[dict[str, Any]] = []
        after = None
        while True:
            answer = await self._client.get(
                "/api/statement",
                params={"limit": 100} | ({"after": after} if after else {}),
                headers={"Authorization": f"Bearer {self._token}"},
            )
            page = answer.raise_for_status().json()
            if not page["entries"]:
                return entries
            entries += page["entries"]
            after = page["next"]
