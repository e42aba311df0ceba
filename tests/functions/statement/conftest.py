"""The statement's database, and its two steps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from functions.runtime.database import Database
from functions.statement.entries import Entries
from local.engines.postgresql import PostgreSQL
from tests.functions.fake_bank import FakeBank, FakeCard
from tests.functions.schema import migrated
from tests.functions.steps import Steps


@pytest.fixture(scope="session")
def statement_url(postgresql: PostgreSQL) -> str:
    """A migrated statement. Tests share it, as cardholders do: each has cards of its own."""
    return migrated("statement", postgresql)


@pytest.fixture
async def database(statement_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """The statement at STATEMENT_DATABASE_URL."""
    monkeypatch.setenv("STATEMENT_DATABASE_URL", statement_url)
    database = Database(statement_url)
    yield database
    await database.close()


@pytest.fixture
def entries(database: Database) -> Entries:
    """The entries of the database."""
    return Entries(database)


@pytest.fixture
def post(database: Database, steps: Steps) -> httpx.AsyncClient:
    """The step that writes entries."""
    return steps.client("post")


@pytest.fixture
def statement(database: Database, bank: FakeBank, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    """The step that reads them. It has no merchant's token."""
    monkeypatch.delenv("BANK_TOKEN")
    return steps.client("statement")


@pytest.fixture
def card(bank: FakeBank) -> FakeCard:
    """A card that can sign in."""
    return bank.issue()


@pytest.fixture
def bearer(bank: FakeBank, card: FakeCard) -> dict[str, str]:
    """The headers of who is signed in with the card."""
    return {"Authorization": f"Bearer {bank.session_token(card)}"}
