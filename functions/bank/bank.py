"""bank: the card bank over gRPC. `python -m functions.bank.bank`, on HOST and PORT, plaintext HTTP/2 (h2c).

Serves codebank.bank.v1.Bank, the old payment.PaymentService unless BANK_LEGACY_PROTOCOL=off, health and reflection.
It is ready once its database answers and has the ledger's tables, and stays so: while the database is away afterwards,
calls are told UNAVAILABLE. SIGTERM drains: calls that were accepted finish, new ones are refused.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from functions.bank import legacy, service
from functions.bank.cards import Cards
from functions.bank.database import Database
from functions.bank.history import History
from functions.bank.keys import KeyFile, KeyFileError
from functions.bank.limits import (
    CONCURRENT_CALLS_MAX,
    CONCURRENT_STREAMS_MAX,
    MESSAGE_BYTES_MAX,
    METADATA_BYTES_MAX,
)
from functions.bank.outbox import Outbox
from functions.bank.payments import Payments, now_utc
from functions.bank.rpc import service_handler
from functions.bank.token import Verifier
from functions.domain.error import Unavailable
from functions.runtime import log, settings
from functions.runtime.sink import HttpSink

_log = logging.getLogger(__name__)

PORT_DEFAULT: Final = 50052
DRAIN_SECONDS_MAX: Final = 25.0
READY_POLL_SECONDS: Final = 0.1


class Bank:
    """The bank as one thing: `serve` runs it, `port` is where it listens."""

    def __init__(self, database: Database, keys: KeyFile, sink: HttpSink | None, *, legacy_protocol: bool) -> None:
        self._database = database
        self._keys = keys
        self._outbox = Outbox(database, sink) if sink else None
        payments = Payments(database, keys, posted=self._outbox.wake if self._outbox else lambda: None)
        services = {
            service.SERVICE: service.BankService(payments, Cards(database, keys), History(database), keys).methods(),
        }
        if legacy_protocol:
            services[legacy.SERVICE] = legacy.LegacyService(payments).methods()
        self._health = health.aio.HealthServicer()
        self._names = ("", *services)
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=CONCURRENT_CALLS_MAX,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.max_concurrent_streams", CONCURRENT_STREAMS_MAX),
            ],
        )
        verifier = Verifier(keys)
        self._server.add_generic_rpc_handlers(
            [service_handler(name, methods, verifier, now_utc) for name, methods in services.items()]
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens; not ready yet. Raises RuntimeError where the port is taken."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.port = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()

    async def run(self) -> None:
        """Gets ready, publishes and follows the key file, for as long as the task lives."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keys.watch())
            await self._until_ready()
            await self._say(health_pb2.HealthCheckResponse.SERVING)
            _log.info("the bank is ready on port %d", self.port)
            if self._outbox:
                group.create_task(self._outbox.run())
                group.create_task(self._outbox.keep_measuring())

    async def drain(self) -> None:
        """Refuses new calls, lets accepted ones finish."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(DRAIN_SECONDS_MAX)

    async def _until_ready(self) -> None:
        said = False
        while True:
            try:
                async with self._database.connection() as connection:
                    if await connection.fetchval("select to_regclass('outbox') is not null"):
                        return
                reason = "the database has not been migrated"
            except Unavailable as error:
                reason = error.detail
            if not said:
                _log.info("not ready: %s", reason)
                said = True
            await asyncio.sleep(READY_POLL_SECONDS)

    async def _say(self, status: int) -> None:
        for name in self._names:
            await self._health.set(name, status)


async def serve() -> None:
    """Runs the bank that the environment describes, until SIGTERM or SIGINT."""
    keys = KeyFile(Path(settings.text("BANK_KEYS_FILE")))
    async with AsyncExitStack() as stack:
        database = Database.of_settings()
        stack.push_async_callback(database.close)
        sink = None
        if settings.text("K_SINK", ""):
            sink = HttpSink.bound()
            stack.push_async_callback(sink.close)
        else:
            _log.warning("K_SINK is not set: events wait in the outbox for the relay")
        bank = Bank(database, keys, sink, legacy_protocol=settings.text("BANK_LEGACY_PROTOCOL", "on") != "off")
        host = settings.text("HOST", "0.0.0.0")  # noqa: S104 - a container is reached from outside of itself
        await bank.start(host, settings.integer("PORT", PORT_DEFAULT, minimum=0, maximum=65535))
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        running = asyncio.create_task(bank.run())
        ended = asyncio.create_task(told.wait())
        await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
        await bank.drain()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def main() -> None:
    """The process."""
    log.configure()
    try:
        uvloop.run(serve())
    except (KeyFileError, settings.SettingError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
