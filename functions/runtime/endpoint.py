"""One HTTP endpoint that is posted to again and again.

A client for one job: HTTP/1.1 POSTs to one URL over connections that are kept, of which the answer's status matters and
nothing else. A bank posts an event for each payment; a client for everything takes ten times as long over it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

FIRST_FINAL_STATUS: Final = 200
"""What comes before is informational (RFC 9110 §15.2): the answer is still to come."""


class EndpointAway(Exception):
    """There was no answer: the endpoint may or may not have got the request."""


class Endpoint:
    """Posts to a URL. At most connections_max requests are under way; more wait for their turn."""

    def __init__(self, url: str, *, connections_max: int, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the URL of an HTTP endpoint")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = f"POST {target} HTTP/1.1\r\nhost: {parts.netloc.rpartition('@')[2]}\r\n"
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: deque[_Connection] = deque()
        self._all: set[_Connection] = set()

    async def post(self, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. Raises EndpointAway where none came in time."""
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        head = f"{self._head}{''.join(lines)}content-length: {len(body)}\r\n\r\n"
        if head.count("\n") != len(lines) + 4 or head.count("\r") != len(lines) + 4:
            raise ValueError("a header holds a line break")
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    return await self._exchange(head.encode("latin-1") + body)
            except (OSError, TimeoutError) as error:
                raise EndpointAway(type(error).__name__) from error

    async def close(self) -> None:
        """Ends the connections."""
        for connection in list(self._all):
            connection.close()

    async def _exchange(self, request: bytes) -> int:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                try:
                    return await self._ask(connection, request)
                except _ClosedMeanwhile:
                    continue  # A kept connection may be closed by the other side at any time, also right now.
        return await self._ask(await self._connect(), request)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=self._ssl)
        self._all.add(connection)
        return connection

    async def _ask(self, connection: _Connection, request: bytes) -> int:
        try:
            status = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        finally:
            if connection.usable:
                self._idle.append(connection)
            else:
                self._all.discard(connection)
        return status


class _ClosedMeanwhile(ConnectionError):
    """The connection was closed before the first byte of the answer."""


class _Connection(asyncio.Protocol):
    """One connection, on which one request at a time waits for its answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[int] | None = None
        self._answering = False
        self._headers_read = False
        self.usable = True

    async def ask(self, request: bytes) -> int:
        """Sends the request and answers the status of what comes back. Raises ConnectionError."""
        if self._transport is None or not self.usable:
            raise _ClosedMeanwhile
        self._answer = asyncio.get_running_loop().create_future()
        self._answering = self._headers_read = False
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None

    def close(self) -> None:
        """Ends the connection."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Some of the answer; without a question, something is wrong with the other side."""
        if self._answer is None:
            self.close()
            return
        self._answering = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(ConnectionError("the answer is not HTTP"))

    def on_headers_complete(self) -> None:
        """The parser has read the head of an answer."""
        self._headers_read = True

    def on_message_complete(self) -> None:
        """The parser has read an answer."""
        status: int = self._parser.get_status_code()
        if status < FIRST_FINAL_STATUS:
            self._headers_read = False
            return
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has closed it, which is how an answer without a length ends."""
        self.usable = False
        if self._headers_read and self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())
        self._end(ConnectionError("the connection was lost") if self._answering else _ClosedMeanwhile())

    def _end(self, error: ConnectionError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()
