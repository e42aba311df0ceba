"""The way from one service to another: connections are handed on as they are, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from local.service import Overloaded, Service

CHUNK_BYTES: Final = 64 * 1024
WAIT_SECONDS: Final = 30.0


class TcpFront:
    """A port that stands for a service, whichever of its instances lives."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> int:
        """Listens on a bound socket and answers its port."""
        self._server = await asyncio.start_server(self._accept, sock=listener)
        listening: int = self._server.sockets[0].getsockname()[1]
        return listening

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._connect(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        # A caller whose connection ends here connects again: that is how gRPC learns of an instance that went away.
        with contextlib.suppress(Overloaded, OSError):
            async with self._service.instance(deadline) as instance:
                upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", instance.port)
                pipes = {
                    asyncio.create_task(_pipe(reader, upstream_writer)),
                    asyncio.create_task(_pipe(upstream_reader, writer)),
                }
                try:
                    await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pipe in pipes:
                        pipe.cancel()
                    upstream_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
