"""Orders: what the database itself refuses, and that the models are what the migrations made."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from functions.runtime.database import Database
from functions.runtime.migrate import migrate
from tests.functions.schema import differences

pytestmark = pytest.mark.anyio


async def test_the_models_are_what_the_migrations_made(database: Database) -> None:
    assert await differences(database, {"products", "orders", "order_items", "order_refunds"}) == []


async def test_migrations_can_be_repeated(database: Database) -> None:
    await migrate("store", database)


ORDER = {
    "id": "gen_random_uuid()",
    "idempotency_key": "'a key of sixteen'",
    "request_digest": "sha256('')",
    "status": "'pending'",
    "total_minor": "100",
    "currency": "'BRL'",
    "card_brand": "'visa'",
    "card_last4": "'4242'",
    "created_at": "now()",
}


async def _insert(database: Database, **columns: str) -> None:
    row = ORDER | columns
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(f"insert into orders ({', '.join(row)}) values ({', '.join(row.values())})")


async def test_the_database_takes_orders_that_can_be(database: Database) -> None:
    await _insert(database)
    await _insert(
        database,
        idempotency_key="'another key of so many'",
        status="'refunded'",
        refunded_minor="100",
        transaction_id="'t'",
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "'paid'"},
        {"status": "'approved'"},
        {"status": "'declined'", "transaction_id": "'t'"},
        {"status": "'pending'", "transaction_id": "'t'"},
        {"status": "'expired'", "transaction_id": "'t'"},
        {"status": "'pending'", "decline_code": "'unknown_card'"},
        {"status": "'refunded'", "transaction_id": "'t'", "refunded_minor": "99"},
        {"status": "'approved'", "transaction_id": "'t'", "refunded_minor": "100"},
        {"status": "'approved'", "transaction_id": "'t'", "refunded_minor": "-1"},
        {"status": "'approved'", "transaction_id": "'t'", "refunded_minor": "101"},
        {"refunded_minor": "1"},
        {"total_minor": "0"},
        {"currency": "'real'"},
        {"card_last4": "'4242424242424242'"},
        {"request_digest": "''"},
        {"idempotency_key": "'short'"},
    ],
)
async def test_the_database_refuses_orders_that_cannot_be(database: Database, columns: dict[str, str]) -> None:
    with pytest.raises(IntegrityError):
        await _insert(database, **columns)
