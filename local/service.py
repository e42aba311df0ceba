"""A Knative Service on one machine: processes started by requests, stopped when idle, restarted when dead."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpcore

from local import kinds
from local.console import Console
from local.engines.engine import free_port
from local.probe import probe
from local.process import Process

READY_SECONDS_MAX: Final = 60.0
"""How long an instance may take from its start to its first good probe."""
BACKOFF_SECONDS_MIN: Final = 0.2
BACKOFF_SECONDS_MAX: Final = 10.0
WAITING_MAX: Final = 1000
"""Requests that wait for an instance."""
INSTANCES_MAX_DEFAULT: Final = 2
"""Where the manifest sets no max-scale: a laptop has few cores."""
CONCURRENCY_TARGET_DEFAULT: Final = 100
"""Knative's own target of requests under way per instance, where there is no hard limit."""
STABLE_WINDOW_SECONDS_DEFAULT: Final = 60
KEEP_ALIVE_SECONDS: Final = 60.0
STOP_GRACE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 10.0
"""An instance that lived this long was healthy: its end starts the backoff anew."""


class StartFailed(Exception):
    """A service's first instance did not become ready; the message says which and why."""


class Overloaded(Exception):
    """Too many requests wait for an instance, or they wait too long."""


class Ended(Exception):
    """The instance ended, or closed the connection, before it had answered."""


@dataclass
class Instance:
    """One process of a service."""

    process: Process
    port: int
    pool: httpcore.AsyncConnectionPool
    ready: bool = False
    stopping: bool = False
    under_way: int = 0
    idle_since: float = field(default_factory=lambda: asyncio.get_running_loop().time())


@dataclass(frozen=True)
class Answer:
    """An HTTP answer whose body is still to be read."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: AsyncIterator[bytes]


class Service:
    """The instances of one ksvc, and the way for requests to them."""

    def __init__(self, manifest: kinds.Service, environment: Callable[[], Mapping[str, str]], console: Console) -> None:
        self.name = manifest.name
        self.restarts = 0
        self._manifest = manifest
        self._environment = environment
        self._console = console
        revision = manifest.spec.template.spec
        self._limit = revision.containerConcurrency
        self._target = self._limit or manifest.autoscaling("target", CONCURRENCY_TARGET_DEFAULT)
        self._min = manifest.autoscaling("min-scale", 0)
        self._max = max(1, self._min, manifest.autoscaling("max-scale", INSTANCES_MAX_DEFAULT))
        window = manifest.spec.template.metadata.annotations.get("autoscaling.knative.dev/window", "")
        self._window_seconds = float(window.removesuffix("s") or STABLE_WINDOW_SECONDS_DEFAULT)
        self._instances: list[Instance] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._backoff_seconds = 0.0
        self._starting = 0
        self._closed = False

    @property
    def instances(self) -> Sequence[Instance]:
        """The instances that run now."""
        return tuple(self._instances)

    @property
    def is_h2c(self) -> bool:
        """Whether it speaks HTTP/2 in plain text."""
        return self._manifest.is_h2c

    async def start(self) -> None:
        """Starts the first instance and waits until it is ready. Raises StartFailed where it does not get there."""
        instance = await self._launch()
        await self._until_ready(instance)
        if not instance.ready:
            status = await instance.process.stop(STOP_GRACE_SECONDS)
            raise StartFailed(f"{self.name} did not become ready; status {status}:\n{instance.process.output()}")
        self._watch(self._tend(instance))
        self._watch(self._stop_idle())

    async def stop(self) -> None:
        """Ends all instances, each after the requests that it has begun."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(instance.process.stop(STOP_GRACE_SECONDS) for instance in self._instances))
        await asyncio.gather(*(instance.pool.aclose() for instance in self._instances))

    async def roll(self) -> None:
        """Replaces every instance: only once a new one is ready are the old ones asked to end."""
        old = [instance for instance in self._instances if not instance.stopping]
        self._starting += bool(old)
        if old and await self._start_another():
            for instance in old:
                self._retire(instance)

    @asynccontextmanager
    async def request(
        self, method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, wait_seconds: float
    ) -> AsyncIterator[Answer]:
        """Sends one request to an instance, and starts one where none can take it.

        A connection that was refused is tried again on another instance: nothing was sent. Raises Overloaded where no
        instance is free within wait_seconds, Ended where the instance went away with the request.
        """
        async with self._sent(method, target, headers, body, wait_seconds) as response:
            yield Answer(response.status, response.headers, response.aiter_stream())

    @asynccontextmanager
    async def _sent(
        self, method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes, wait_seconds: float
    ) -> AsyncIterator[httpcore.Response]:
        deadline = asyncio.get_running_loop().time() + wait_seconds
        while True:
            async with self.instance(deadline) as instance:
                url = httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=instance.port, target=target)
                request = httpcore.Request(method, url, headers=list(headers), content=body)
                try:
                    response = await instance.pool.handle_async_request(request)
                except httpcore.ConnectError:
                    instance.ready = False  # It is ending; its own task notices.
                    continue
                except (httpcore.NetworkError, httpcore.ProtocolError) as error:
                    raise Ended(f"{self.name} ended before it had answered") from error
                try:
                    yield response
                except (httpcore.NetworkError, httpcore.ProtocolError) as error:
                    raise Ended(f"{self.name} ended in the middle of its answer") from error
                finally:
                    await response.aclose()
                return

    @asynccontextmanager
    async def instance(self, deadline: float) -> AsyncIterator[Instance]:
        """An instance that can take a request, held until the block ends. Raises Overloaded at the deadline."""
        while (instance := self._free_instance()) is None:
            self._scale_up()
            await self._wait(deadline)
        instance.under_way += 1
        if instance.under_way >= self._target:
            self._scale_up()
        try:
            yield instance
        finally:
            instance.under_way -= 1
            instance.idle_since = asyncio.get_running_loop().time()
            self._wake()

    def _free_instance(self) -> Instance | None:
        free = [
            instance
            for instance in self._instances
            if instance.ready and not instance.stopping and (not self._limit or instance.under_way < self._limit)
        ]
        return min(free, key=lambda instance: instance.under_way, default=None)

    async def _wait(self, deadline: float) -> None:
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(f"too many requests wait for {self.name}")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except TimeoutError:
            raise Overloaded(f"no instance of {self.name} was free in time") from None
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _scale_up(self) -> None:
        alive = sum(not instance.stopping for instance in self._instances)
        if not self._closed and not self._starting and alive < self._max:
            self._starting += 1  # Now, and not when the task begins: others ask before that.
            self._watch(self._start_another())

    async def _start_another(self) -> bool:
        """Starts an instance, after the backoff that earlier deaths have earned; answers whether it became ready."""
        try:
            await asyncio.sleep(self._backoff_seconds)
            instance = await self._launch()
        finally:
            self._starting -= 1
        self._watch(self._tend(instance))
        await self._until_ready(instance)
        if not instance.ready:
            await instance.process.stop(STOP_GRACE_SECONDS)
        return instance.ready

    async def _launch(self) -> Instance:
        port = free_port()
        container = self._manifest.container
        process = await Process.start(
            self.name,
            [*container.command, *container.args],
            {**self._environment(), "HOST": "127.0.0.1", "PORT": str(port), "K_SERVICE": self.name},
            self._console,
        )
        pool = httpcore.AsyncConnectionPool(keepalive_expiry=KEEP_ALIVE_SECONDS, max_connections=WAITING_MAX)
        instance = Instance(process, port, pool)
        self._instances.append(instance)
        return instance

    async def _until_ready(self, instance: Instance) -> None:
        """Waits for the first good probe, the instance's end or the time limit, whichever is first."""
        probing = asyncio.create_task(probe(instance.port, self._manifest.container.readinessProbe))
        exited = asyncio.create_task(instance.process.exited())
        done, waiting = await asyncio.wait(
            {probing, exited}, timeout=READY_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting:
            task.cancel()
        instance.ready = probing in done and exited not in done
        for _ in range(len(self._waiting)):
            self._wake()

    async def _tend(self, instance: Instance) -> None:
        """Waits for the instance's end, and replaces it where it was still wanted."""
        started = asyncio.get_running_loop().time()
        status = await instance.process.exited()
        was_ready, instance.ready = instance.ready, False
        self._instances.remove(instance)
        await instance.pool.aclose()
        if instance.stopping or self._closed:
            return
        self.restarts += 1
        steady = was_ready and asyncio.get_running_loop().time() - started > STEADY_SECONDS
        self._backoff_seconds = (
            0.0 if steady else min(BACKOFF_SECONDS_MAX, max(BACKOFF_SECONDS_MIN, self._backoff_seconds * 2))
        )
        last = instance.process.tail[-1] if instance.process.tail else "it wrote nothing"
        self._console.say(f"{self.name} ended with status {status}: {last}", level="error")
        if len(self._instances) < max(self._min, 1 if self._waiting else 0):
            self._scale_up()

    async def _stop_idle(self) -> None:
        """Ends instances beyond the minimum that nobody has asked anything for the stable window."""
        while True:
            await asyncio.sleep(self._window_seconds / 4)
            now = asyncio.get_running_loop().time()
            alive = [instance for instance in self._instances if not instance.stopping]
            for instance in alive[self._min :]:
                if instance.ready and not instance.under_way and now - instance.idle_since > self._window_seconds:
                    self._retire(instance)

    def _retire(self, instance: Instance) -> None:
        instance.stopping = True
        self._watch(instance.process.stop(STOP_GRACE_SECONDS))

    def _watch(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._console.say(f"{self.name}: {type(error).__name__}: {error}", level="error")
