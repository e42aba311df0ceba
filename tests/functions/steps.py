"""Steps as functions-framework serves them, by file, target and signature: in this process, or each in its own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.runtime import server
from functions.runtime.bank import Bank
from functions.runtime.database import Database
from functions.runtime.event import Event, binary_request
from local.engines.engine import free_port
from tests.waiting import until

MANIFESTS = Path("knative/base")


def function_settings(name: str) -> dict[str, str]:
    """What the step's manifest says of its file, target and signature."""
    return dict(re.findall(r"{name: (FUNCTION_\w+), value: (\S+)}", (MANIFESTS / f"{name}.yaml").read_text()))


class Steps:
    """Loads steps by their manifests, and at the end closes what they have opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._opened: list[Database | Bank] = []
        self._clients: list[httpx.AsyncClient] = []
        self._keep(Database, "of")
        self._keep(Bank, "of_settings")

    def _keep(self, opener: type[Database] | type[Bank], name: str) -> None:
        opened = getattr(opener, name)

        def kept(*arguments: Any) -> Database | Bank:
            self._opened.append(opened(*arguments))
            return self._opened[-1]

        self._monkeypatch.setattr(opener, name, kept)

    def client(self, name: str) -> httpx.AsyncClient:
        """A client of the step, which is loaded anew with the FUNCTION_* settings of its manifest."""
        for setting, value in function_settings(name).items():
            self._monkeypatch.setenv(setting, value)
        transport = httpx.ASGITransport(server.application())
        self._clients.append(httpx.AsyncClient(transport=transport, base_url="http://codebank.test"))
        return self._clients[-1]

    async def close(self) -> None:
        """Closes everything."""
        for client in self._clients:
            await client.aclose()
        for opened in self._opened:
            await opened.close()


async def deliver(client: httpx.AsyncClient, event: Event) -> httpx.Response:
    """Delivers the event as a source does, in binary mode."""
    headers, body = binary_request(event)
    return await client.post("/", headers=headers, content=body)


class StepProcess:
    """A step as a process of its own, started as a container is."""

    def __init__(self, name: str) -> None:
        self.output = b""
        """What it has written; known once it has ended."""
        self._name = name
        self._port = free_port()
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", trust_env=False)

    async def start(self) -> None:
        """Starts it with its manifest's FUNCTION_* settings and the settings of this process, and waits for it."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "functions.runtime.server"),
            env=os.environ | function_settings(self._name) | {"HOST": "127.0.0.1", "PORT": str(self._port)},
            stdout=asyncio.subprocess.PIPE,
        )
        await until(self._is_ready, f"{self._name} is ready")

    async def _is_ready(self) -> bool:
        assert self._process.returncode is None, f"{self._name} has ended"
        with suppress(httpx.TransportError):
            return (await self.client.get("/healthz")).is_success
        return False

    async def stop(self) -> None:
        """Ends it as a platform does."""
        await self.client.aclose()
        if self._process.returncode is None:
            self._process.terminate()
            self.output, _ = await self._process.communicate()


Serve = Callable[[str], Awaitable[StepProcess]]
