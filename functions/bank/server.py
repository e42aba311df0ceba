"""The bank's gRPC server: its services, health and reflection, getting ready and draining."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from functions.bank import legacy, service
from functions.bank.cards import Cards
from functions.bank.database import Database
from functions.bank.history import History
from functions.bank.keys import KeyFile
from functions.bank.limits import (
    CLIENT_PING_MILLISECONDS_MIN,
    CONCURRENT_CALLS_MAX,
    CONCURRENT_STREAMS_MAX,
    KEEPALIVE_MILLISECONDS,
    MESSAGE_BYTES_MAX,
    METADATA_BYTES_MAX,
)
from functions.bank.payments import Payments, now_utc
from functions.bank.rpc import service_handler
from functions.bank.token import Verifier
from functions.domain.error import Unavailable

_log = logging.getLogger(__name__)

PORT_DEFAULT: Final = 50052
DRAIN_SECONDS_MAX: Final = 25.0
READY_POLL_SECONDS: Final = 0.1


class Server:
    """Serves the bank on `port`. It says NOT_SERVING until `ready` has returned."""

    def __init__(self, database: Database, keys: KeyFile, payments: Payments, *, legacy_protocol: bool) -> None:
        self._database = database
        bank = service.BankService(payments, Cards(database, keys), History(database), keys)
        services = {service.SERVICE: bank.methods()}
        if legacy_protocol:
            services[legacy.SERVICE] = legacy.LegacyService(payments).methods()
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=CONCURRENT_CALLS_MAX,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.max_concurrent_streams", CONCURRENT_STREAMS_MAX),
                ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
                ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_PING_MILLISECONDS_MIN),
            ],
        )
        verifier = Verifier(keys)
        self._server.add_generic_rpc_handlers(
            [service_handler(name, methods, verifier, now_utc) for name, methods in services.items()]
        )
        self._health = health.aio.HealthServicer()
        self._names = ("", *services)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens, on a free port where port is 0. Raises RuntimeError where the port is taken."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.port = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()

    async def ready(self) -> None:
        """Waits until the database answers and has the ledger's tables, then says SERVING."""
        said = ""
        while reason := await self._not_ready():
            if reason != said:
                _log.info("not ready: %s", reason)
                said = reason
            await asyncio.sleep(READY_POLL_SECONDS)
        await self._say(health_pb2.HealthCheckResponse.SERVING)
        _log.info("the bank is ready on port %d", self.port)

    async def drain(self) -> None:
        """Refuses new calls, lets accepted ones finish."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(DRAIN_SECONDS_MAX)

    async def _not_ready(self) -> str:
        try:
            async with self._database.connection() as connection:
                migrated = await connection.fetchval("select to_regclass('outbox') is not null")
        except Unavailable as error:
            return error.detail
        return "" if migrated else "the database has not been migrated"

    async def _say(self, status: int) -> None:
        for name in self._names:
            await self._health.set(name, status)
