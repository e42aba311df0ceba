"""Each frontend, as a client sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import httpx
import pytest
from starlette.applications import Starlette

from frontends.serve import FRONTENDS, application

Clients = Callable[[str], httpx.AsyncClient]


def client_of(app: Starlette) -> httpx.AsyncClient:
    """A client of the application. It asks for no compression by itself, and follows no redirect."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://codebank.test", headers={"Accept-Encoding": "identity"}
    )


@pytest.fixture(scope="session")
def applications() -> dict[str, Starlette]:
    """The applications by name, made once."""
    return {name: application(frontend) for name, frontend in FRONTENDS.items()}


@pytest.fixture
async def clients(applications: dict[str, Starlette]) -> AsyncIterator[Clients]:
    """A client of the frontend of a name."""
    async with AsyncExitStack() as stack:
        made = {name: await stack.enter_async_context(client_of(app)) for name, app in applications.items()}
        yield made.__getitem__
