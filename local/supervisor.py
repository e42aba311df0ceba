"""Runs the whole system on this machine: starts the parts in their order, watches them, ends them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from local import kinds
from local.cards import card_line, demo_cards
from local.cluster import base_environment, container_environment
from local.console import Console
from local.control import PREFIX, control_application
from local.engines.kafka import Kafka
from local.engines.postgresql import PostgreSQL
from local.folder import Folder, State
from local.gateway import Gateway, routes_of
from local.http_server import HttpServer, bind
from local.job import run_jobs
from local.kafka_sink import KafkaSinks
from local.kafka_source import KafkaSource, SinkSubscriber, StepSubscriber, Subscriber
from local.log.embedded import EmbeddedLog
from local.log.kafka_client import KafkaAddress
from local.log.port import Log, LogUnavailable, Topic
from local.ping_source import PingSource
from local.process import ROOT
from local.reload import reload
from local.secret import SecretStore, read_recipes
from local.service import Service
from local.system import System
from local.tcp import TcpFront

LOG_SECRET: Final = ("log-database", "url")
BANK: Final = "bank"
"""The service that has a public port of its own."""
ENGINE_RESTART_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Options:
    """What the person at the terminal chose. Port 0 picks a free one.

    kafka: an existing cluster; engines: real engines are started here. With neither, the log is the embedded one.
    """

    port: int
    bank_port: int
    reload: bool
    kafka: KafkaAddress | None = None
    engines: bool = False


class Supervisor:
    """One running system. Use run()."""

    def __init__(self, folder: Folder, options: Options, console: Console) -> None:
        self._folder = folder
        self._options = options
        self._console = console
        self._recipes = read_recipes()
        self._system = System.read(ROOT, self._recipes)
        self._secrets = SecretStore(folder.secrets)
        self._addresses: dict[str, str] = {}
        self._sink_url = ""
        self._services: dict[str, Service] = {}
        self._sources: list[KafkaSource] = []
        self._ready = False
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Runs until SIGINT or SIGTERM. Raises what local/__main__.py says in one sentence where it cannot start."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._stopping.set)
        async with AsyncExitStack() as stack:
            starting = asyncio.create_task(self._start(stack))
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                await stopping
            else:
                starting.cancel()
                await asyncio.wait([starting])
            stopping.cancel()
            self._ready = False
            self._console.say("stopping")

    async def _start(self, stack: AsyncExitStack) -> None:
        public = stack.enter_context(contextlib.closing(bind(self._options.port, "the public address (CODEBANK_PORT)")))
        bank = bind(self._options.bank_port, "the bank (CODEBANK_BANK_PORT)")
        stack.enter_context(contextlib.closing(bank))

        postgresql = await stack.enter_async_context(self._postgresql())
        await self._secrets.make(self._recipes, postgresql, base_environment(), self._console)
        log = await stack.enter_async_context(self._log())
        for topic in self._system.all(kinds.KafkaTopic).values():
            await log.create(_topic(topic))

        endpoints = {_sink_path(sink): sink.spec for sink in self._system.all(kinds.KafkaSink).values()}
        structured = {path for path, spec in endpoints.items() if spec.contentMode == "structured"}
        sinks = KafkaSinks(log, {path: spec.topic for path, spec in endpoints.items()}, structured)
        control_token = secrets.token_urlsafe(32)
        internal = await stack.enter_async_context(
            _serving(HttpServer(self._internal(sinks, control_token, log), bind(0, "the inner address")))
        )
        self._sink_url = f"http://127.0.0.1:{internal.port}"

        self._make_services()
        await stack.enter_async_context(self._tcp_fronts(bank))
        await run_jobs(self._system.all(kinds.Job).values(), self._environment, self._console)
        stack.push_async_callback(self._stop_services)
        await self._start_services()

        gateway = Gateway(routes_of(self._system.all(kinds.VirtualService).values(), self._services), self._health)
        front = await stack.enter_async_context(_serving(HttpServer(gateway, public)))
        await stack.enter_async_context(self._eventing(log, sinks))
        if self._options.reload:
            await stack.enter_async_context(
                self._running(reload(ROOT, self._services, self._system.all(kinds.Service), self._console))
            )

        url = f"http://127.0.0.1:{front.port}"
        bank_address = self._addresses[_host(self._system.all(kinds.Service)[BANK])]
        self._folder.write_state(State(os.getpid(), url, bank_address, self._sink_url + PREFIX, control_token))
        self._ready = True
        await self._welcome(url, bank_address)

    async def _welcome(self, url: str, bank_address: str) -> None:
        """Says where everything is. Card numbers are shown to a person at a terminal and to nobody else."""
        self._console.plain(f"store {url}/   statement {url}/statement/   bank {bank_address}")
        if self._console.is_terminal:
            for card in await asyncio.to_thread(demo_cards):
                if card["decline_code"] is None:
                    self._console.plain(card_line(card))
        self._console.plain("more cards: ./task cards")
        self._console.plain(f"ready {url}")

    @asynccontextmanager
    async def _postgresql(self) -> AsyncIterator[PostgreSQL]:
        server = PostgreSQL(self._folder.postgresql, lambda line: self._console.line("postgresql", line))
        await server.start()

        async def tend() -> None:
            while True:
                status = await server.exited()
                self._console.say(f"postgresql ended with status {status} and is started again", level="error")
                await asyncio.sleep(ENGINE_RESTART_SECONDS)
                await server.start()

        try:
            async with self._running(tend()):
                yield server
        finally:
            await server.stop()

    @asynccontextmanager
    async def _log(self) -> AsyncIterator[Log]:
        address = self._options.kafka
        async with AsyncExitStack() as stack:
            if address is None and self._options.engines:
                kafka = await stack.enter_async_context(self._kafka())
                address = KafkaAddress((kafka.bootstrap_servers,))
            if address is None:
                yield await stack.enter_async_context(EmbeddedLog.open(self._secrets.read(*LOG_SECRET)))
            else:
                from local.log.kafka import KafkaLog  # noqa: PLC0415 - the client is loaded only where it is wanted

                self._console.say(f"the log is Kafka at {','.join(address.bootstrap_servers)}")
                yield await stack.enter_async_context(KafkaLog.open(address))

    @asynccontextmanager
    async def _kafka(self) -> AsyncIterator[Kafka]:
        kafka = Kafka(self._folder.path / "kafka", lambda line: self._console.line("kafka", line))
        await kafka.start()

        async def tend() -> None:
            while True:
                status = await kafka.exited()
                self._console.say(f"kafka ended with status {status} and is started again", level="error")
                await asyncio.sleep(ENGINE_RESTART_SECONDS)
                await kafka.start()

        try:
            async with self._running(tend()):
                yield kafka
        finally:
            await kafka.stop()

    @asynccontextmanager
    async def _running(self, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Runs a part beside the block and ends it with the block. A part that fails stops the system and is raised."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._stopping.set())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()):
                raise error

    def _make_services(self) -> None:
        for name, manifest in self._system.all(kinds.Service).items():
            self._services[name] = Service(manifest, partial(self._service_environment, manifest), self._console)

    @asynccontextmanager
    async def _tcp_fronts(self, bank: socket.socket) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name, manifest in self._system.all(kinds.Service).items():
                if manifest.is_h2c or name in self._system.asked_services():
                    front = TcpFront(self._services[name])
                    port = await front.start(bank if name == BANK else bind(0, name))
                    stack.push_async_callback(front.stop)
                    self._addresses[_host(manifest)] = f"127.0.0.1:{port}"
            yield

    async def _start_services(self) -> None:
        async with asyncio.TaskGroup() as group:
            for service in self._services.values():
                group.create_task(service.start())

    async def _stop_services(self) -> None:
        await asyncio.gather(*(service.stop() for service in self._services.values()))

    @asynccontextmanager
    async def _eventing(self, log: Log, sinks: KafkaSinks) -> AsyncIterator[None]:
        for manifest in self._system.all(kinds.KafkaSource).values():
            subscriber = self._subscriber(manifest.spec.sink, sinks)
            dead_letters = self._subscriber(manifest.spec.delivery.deadLetterSink, sinks)
            self._sources.append(KafkaSource(manifest, log, subscriber, dead_letters, self._console))
        pings = [
            PingSource(manifest, self._subscriber(manifest.spec.sink, sinks), self._console)
            for manifest in self._system.all(kinds.PingSource).values()
        ]
        async with AsyncExitStack() as stack:
            for work in [*(source.run() for source in self._sources), *(ping.run() for ping in pings)]:
                await stack.enter_async_context(self._running(work))
            yield

    def _subscriber(self, destination: kinds.Destination, sinks: KafkaSinks) -> Subscriber:
        if destination.ref.kind == "KafkaSink":
            sink = self._system.all(kinds.KafkaSink)[destination.ref.name]
            return SinkSubscriber(sink.name, _sink_path(sink), sinks)
        return StepSubscriber(self._services[destination.ref.name])

    def _environment(self, container: kinds.Container, volumes: list[kinds.Volume]) -> Mapping[str, str]:
        return container_environment(container, volumes, self._secrets, self._addresses)

    def _service_environment(self, manifest: kinds.Service) -> Mapping[str, str]:
        pod = manifest.spec.template.spec
        environment = {**self._environment(manifest.container, pod.volumes)}
        for binding in self._system.all(kinds.SinkBinding).values():
            if binding.spec.subject.name == manifest.name:
                sink = self._system.all(kinds.KafkaSink)[binding.spec.sink.ref.name]
                environment["K_SINK"] = self._sink_url + _sink_path(sink)
                if binding.spec.ceOverrides is not None:
                    environment["K_CE_OVERRIDES"] = binding.spec.ceOverrides.model_dump_json()
        return environment

    def _named_environment(self, name: str) -> Mapping[str, str] | None:
        if service := self._system.all(kinds.Service).get(name):
            return self._service_environment(service)
        if job := self._system.all(kinds.Job).get(name):
            return self._environment(job.spec.template.spec.containers[0], job.spec.template.spec.volumes)
        return None

    def _internal(self, sinks: KafkaSinks, token: str, log: Log) -> Any:
        control = control_application(token, lambda: self._status(log), self._named_environment, self._rewind)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            handler = control if scope["path"].startswith(PREFIX + "/") else sinks
            await handler(scope, receive, send)

        return application

    async def _rewind(self, name: str, start: int | dt.datetime) -> int | None:
        for source in self._sources:
            if source.name == name:
                return await source.rewind(start)
        return None

    def _health(self) -> Mapping[str, Any]:
        ready = {
            name: any(instance.ready for instance in service.instances) for name, service in self._services.items()
        }
        return {"status": "ok" if self._ready else "starting", "services": ready}

    async def _status(self, log: Log) -> Mapping[str, Any]:
        return {
            "services": [
                {
                    "name": service.name,
                    "instances": [
                        {"pid": each.process.pid, "ready": each.ready, "under_way": each.under_way}
                        for each in service.instances
                    ],
                    "restarts": service.restarts,
                    "address": self._address(service),
                }
                for service in self._services.values()
            ],
            "sources": [
                {
                    "name": source.name,
                    "group": source.group,
                    "lag": await _lag(log, source),
                    "delivered": source.delivered,
                    "retried": source.retried,
                    "dead_letters": source.dead_lettered,
                }
                for source in self._sources
            ],
            "topics": [
                {"name": name, "records": await _size(log, name)} for name in self._system.all(kinds.KafkaTopic)
            ],
        }

    def _address(self, service: Service) -> str:
        if service.is_h2c:
            return self._addresses[_host(self._system.all(kinds.Service)[service.name])]
        return ", ".join(f"127.0.0.1:{instance.port}" for instance in service.instances)


def _topic(manifest: kinds.KafkaTopic) -> Topic:
    retention_ms = int(manifest.spec.config.get("retention.ms", -1))
    retention = dt.timedelta(milliseconds=retention_ms) if retention_ms >= 0 else None
    config = {name: str(value) for name, value in manifest.spec.config.items()}
    return Topic(manifest.name, manifest.spec.partitions, retention, manifest.spec.replicas, config)


async def _lag(log: Log, source: KafkaSource) -> int | None:
    """How far the source is behind; None while the log does not say."""
    try:
        return sum([(await log.lag(source.group, topic)).records for topic in source.spec.topics])
    except LogUnavailable:
        return None


async def _size(log: Log, topic: str) -> int | None:
    try:
        return await log.size(topic)
    except LogUnavailable:
        return None


def _sink_path(sink: kinds.KafkaSink) -> str:
    return f"/{sink.metadata.namespace}/{sink.name}"


def _host(manifest: kinds.Service) -> str:
    return f"{manifest.name}.{manifest.metadata.namespace}"


@asynccontextmanager
async def _serving(server: HttpServer) -> AsyncIterator[HttpServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
