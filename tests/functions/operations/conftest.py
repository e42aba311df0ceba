"""The operations' database, the step that tends dead letters, and a step that takes them again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from functions.runtime.database import Database
from local.engines.postgresql import PostgreSQL
from local.http_server import HttpServer, bind
from tests.functions.fake_bank import FakeBank
from tests.functions.schema import migrated
from tests.functions.steps import Steps


@pytest.fixture(scope="session")
def operations_url(postgresql: PostgreSQL) -> str:
    """A migrated database. Tests share it: each has steps of its own name."""
    return migrated("operations", postgresql)


@pytest.fixture
async def database(operations_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """The database at OPERATIONS_DATABASE_URL."""
    monkeypatch.setenv("OPERATIONS_DATABASE_URL", operations_url)
    database = Database(operations_url)
    yield database
    await database.close()


class Taker:
    """A step that takes events: answers 204 unless it is told otherwise, and keeps what it was given."""

    def __init__(self) -> None:
        self.status = 204
        self.given: list[tuple[dict[str, str], bytes]] = []

    async def take(self, request: Request) -> Response:
        self.given.append((dict(request.headers), await request.body()))
        return PlainTextResponse("still no", self.status) if self.status >= 400 else Response(status_code=self.status)


@pytest.fixture
def step_name(request: pytest.FixtureRequest) -> str:
    """The name of the step that failed, of this test alone."""
    return f"step-{abs(hash(request.node.nodeid)):x}"


@pytest.fixture
async def taker(step_name: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Taker]:
    """The step behind that name."""
    taker = Taker()
    server = HttpServer(Starlette(routes=[Route("/", taker.take, methods=["POST"])]), bind(0, "a step"))
    await server.start()
    monkeypatch.setenv("REPLAY_TARGETS", f"{step_name}=http://127.0.0.1:{server.port} gone=http://127.0.0.1:1")
    yield taker
    await server.stop()


@pytest.fixture
def dead_letter(
    database: Database, bank: FakeBank, taker: Taker, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> httpx.AsyncClient:
    """The step. It has no merchant's token."""
    monkeypatch.delenv("BANK_TOKEN")
    return steps.client("dead-letter")


@pytest.fixture
def operator(bank: FakeBank) -> dict[str, str]:
    """The headers of an operator."""
    return {"Authorization": f"Bearer {bank.session_token(bank.issue(), aud='bank', role='operator', sub='ana')}"}
