"""What the bank's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from functions.bank.database import Connection
from functions.bank.keys import new_document
from functions.bank.payments import now_utc
from functions.runtime import database
from functions.runtime.migrate import migrate
from local.engines.postgresql import PostgreSQL
from tests.functions.bank.desk import Desk, open_desk, write_keys


@pytest.fixture(scope="session")
def keys_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file that no test changes."""
    return write_keys(tmp_path_factory.mktemp("keys") / "keys.json", new_document(now_utc()))


@pytest.fixture
async def bank_url(postgres_url: Callable[[str], str]) -> str:
    """The address of a new database with the bank's tables."""
    url = postgres_url("bank")
    owner = database.Database(url)
    await migrate("bank", owner)
    await owner.close()
    return url


@pytest.fixture
async def desk(bank_url: str, keys_path: Path) -> AsyncIterator[Desk]:
    """A bank with nothing in it."""
    opened = await open_desk(bank_url, keys_path)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres_superuser(bank_url: str, postgresql: PostgreSQL) -> AsyncIterator[Connection]:
    """A connection to the bank's database that may do what no step may."""
    connection = await asyncpg.connect(postgresql.url(urlsplit(bank_url).path[1:]))
    yield connection
    await connection.close()
