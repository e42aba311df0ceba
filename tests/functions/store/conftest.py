"""The store's database with the demo products, and what a shopper sends."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from functions.runtime.database import Database
from functions.store.demo import demo_products
from functions.store.orders import Orders
from functions.store.products import Product, Products
from local.engines.postgresql import PostgreSQL
from tests.functions.fake_bank import new_card_number
from tests.functions.schema import migrated


@pytest.fixture(scope="session")
def store_url(postgresql: PostgreSQL) -> str:
    """A migrated store, which the tests use after each other."""
    return migrated("store", postgresql)


@pytest.fixture
async def database(store_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """The store at STORE_DATABASE_URL, with the demo products and nothing else."""
    monkeypatch.setenv("STORE_DATABASE_URL", store_url)
    database = Database(store_url)
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("truncate products, orders, order_items, order_refunds restart identity")
    await Products(database).add_missing(demo_products(dt.datetime.now(dt.UTC)))
    yield database
    await database.close()


@pytest.fixture
def orders(database: Database) -> Orders:
    """The orders of the database."""
    return Orders(database)


@pytest.fixture
def products() -> dict[str, Product]:
    """The demo products by their slugs."""
    return {product.slug: product for product in demo_products(dt.datetime.now(dt.UTC))}


@pytest.fixture
def order_body(products: dict[str, Product]) -> Callable[..., dict[str, Any]]:
    """Makes the body of an order: slugs and quantities, with a card of its own where none is given."""

    def make(*, card: dict[str, Any] | None = None, **quantities: int) -> dict[str, Any]:
        chosen = quantities or {"ceramic_mug": 2, "field_notebook": 1}
        body_card = {
            "name": "Ana Lima",
            "number": new_card_number(),
            "expiration_month": 12,
            "expiration_year": dt.datetime.now(dt.UTC).year + 3,
            "cvv": "123",
        }
        items = [
            {"product_id": str(products[slug.replace("_", "-")].id), "quantity": quantity}
            for slug, quantity in chosen.items()
        ]
        return {"credit_card": body_card | (card or {}), "items": items}

    return make


@pytest.fixture
def key() -> dict[str, str]:
    """Headers with an idempotency key of their own."""
    return {"Idempotency-Key": str(uuid.uuid4())}
