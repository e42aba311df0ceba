"""An ASGI application on a port of the loopback address, inside this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

CONNECTIONS_MAX = 2000


class PortInUse(Exception):
    """Another program listens there."""


def bind(port: int, what: str) -> socket.socket:
    """A socket on the loopback address; 0 picks a free port. Raises PortInUse, saying for what it was wanted."""
    # asyncio turns Nagle's algorithm off only where the protocol is named; left on, each answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise PortInUse(f"port {port} is in use: it is wanted for {what}") from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: this process has several servers and handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


class HttpServer:
    """Serves an application until stop()."""

    def __init__(self, application: ASGIApp, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                application,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_graceful_shutdown=5,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listens."""
        self._task = asyncio.create_task(self._server.serve([self._listener]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - a flag is all that uvicorn has
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Answers what was begun, then closes the port."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
