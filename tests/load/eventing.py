"""How fast events reach their steps: `./task bench -- eventing [--log embedded|kafka] [--events 4000] [--million]`.

Real logs, real sources, a real HTTP step in a process of its own that only answers. Beside each figure stands a bare
loop that posts the same events with the same client and as many at once: what the sources could at best reach. Sources,
client and loop run in this one process, as they do in the supervisor.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import io
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from local import kinds
from local.cloudevent import Headers, request_of_record
from local.cluster import base_environment
from local.console import Console
from local.engines.kafka import Kafka
from local.engines.postgresql import PostgreSQL
from local.kafka_source import UNORDERED_MAX, KafkaSource, StepSubscriber
from local.log.embedded import EmbeddedLog
from local.log.kafka import KafkaLog
from local.log.kafka_client import KafkaAddress
from local.log.port import Delivered, Log, Record, Topic
from local.service import Service

PARTITIONS: Final = 12
STEPS: Final = (1, 3, 5)
KEYS: Final = 500
LATENCY_EVENTS: Final = 300
IDLE_SECONDS: Final = 10.0
MILLION: Final = 1_000_000
APPENDS_AT_ONCE: Final = 2_000

VALUE: Final = b'{"transaction_id": "0", "description": "' + b"x" * 400 + b'"}'
HEADERS: Final = tuple(
    (f"ce_{name}", value)
    for name, value in (
        ("specversion", b"1.0"),
        ("source", b"/codebank/bank"),
        ("type", b"codebank.payment.approved.v1"),
        ("time", b"2026-01-01T00:00:00.000000Z"),
        ("partitionkey", b"card"),
    )
)


def record(number: int) -> Record:
    """One event of about half a kilobyte."""
    headers = (*HEADERS, ("ce_id", str(number).encode()), ("content-type", b"application/json"))
    return Record(VALUE, str(number % KEYS).encode(), headers)


def manifest(name: str, topic: str, ordering: str) -> kinds.KafkaSource:
    """A source as eventing/ has them."""
    sink = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "taker"}}
    return kinds.KafkaSource.model_validate(
        {
            "apiVersion": "sources.knative.dev/v1beta1",
            "kind": "KafkaSource",
            "metadata": {"name": name},
            "spec": {
                "bootstrapServers": ["kafka:9092"],
                "topics": [topic],
                "consumerGroup": f"{name}-{topic}",
                "initialOffset": "earliest",
                "ordering": ordering,
                "delivery": {
                    "retry": 10,
                    "backoffPolicy": "exponential",
                    "backoffDelay": "PT0.2S",
                    "timeout": "PT10S",
                    "deadLetterSink": sink,
                },
                "sink": sink,
            },
        }
    )


def taker(console: Console) -> Service:
    """The step, one process."""
    return Service(
        kinds.Service.model_validate(
            {
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Service",
                "metadata": {"name": "taker"},
                "spec": {
                    "template": {
                        "metadata": {
                            "annotations": {
                                "autoscaling.knative.dev/min-scale": "1",
                                "autoscaling.knative.dev/max-scale": "1",
                            }
                        },
                        "spec": {"containers": [{"image": "taker", "command": ["python", "-m", "tests.load.taker"]}]},
                    }
                },
            }
        ),
        base_environment,
        console,
    )


class Bench:
    """One log and one step, measured."""

    def __init__(self, name: str, log: Log, step: Service, console: Console) -> None:
        self._name = name
        self._log = log
        self._step = StepSubscriber(step)
        self._console = console
        self._topics = 0

    async def filled_topic(self, events: int) -> str:
        """A topic with so many events in it."""
        self._topics += 1
        topic = f"bench-{self._topics}"
        await self._log.create(Topic(topic, PARTITIONS))
        begun = time.perf_counter()
        for first in range(0, events, APPENDS_AT_ONCE):
            numbers = range(first, min(events, first + APPENDS_AT_ONCE))
            await asyncio.gather(*(self._log.append(topic, record(number)) for number in numbers))
        if events:
            rate = events / (time.perf_counter() - begun)
            print(f"{self._name:9} append                           {rate:8,.0f} events/s", flush=True)
        return topic

    async def ceiling(self, events: int, at_once: int) -> float:
        """Posts per second of a bare loop."""
        moment = dt.datetime.now(dt.UTC)
        numbers = iter(range(events))

        async def loop() -> None:
            for number in numbers:
                headers, body = request_of_record(Delivered(record(number), "t", 0, number, moment), "/bench")
                status, _, _ = await self._step.post(headers, body, 10.0)
                assert status == 204

        begun = time.perf_counter()
        await asyncio.gather(*(loop() for _ in range(at_once)))
        return events / (time.perf_counter() - begun)

    async def catch_up(self, topic: str, events: int, ordering: str, steps: int) -> float:
        """Deliveries per second of so many sources that read the whole topic at once, all steps together."""
        names = [f"{ordering}-{steps}-{number}" for number in range(steps)]
        sources = [
            KafkaSource(manifest(name, topic, ordering), self._log, self._step, self._step, self._console)
            for name in names
        ]
        begun = time.perf_counter()
        tasks = [asyncio.create_task(source.run()) for source in sources]
        while sum(source.delivered for source in sources) < events * steps:  # noqa: ASYNC110 - it counts, and tells nobody
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - begun
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return events * steps / seconds

    async def throughput(self, events: int) -> None:
        """Catching up, ordered and unordered, with several steps; beside it the ceiling."""
        topic = await self.filled_topic(events)
        for ordering, at_once in (("ordered", PARTITIONS), ("unordered", PARTITIONS * UNORDERED_MAX)):
            for steps in STEPS:
                ceiling = await self.ceiling(events, at_once * steps)
                reached = await self.catch_up(topic, events, ordering, steps)
                print(
                    f"{self._name:9} {ordering:9} {steps} steps at once      {reached:8,.0f} events/s   "
                    f"{reached / ceiling:4.0%} of the bare loop's {ceiling:,.0f}",
                    flush=True,
                )

    async def latency(self) -> None:
        """From the append to the step's answer, one event at a time; then what an idle source costs."""
        topic = await self.filled_topic(0)
        answered = asyncio.Event()

        class Timed(StepSubscriber):
            async def post(
                self, headers: Headers, body: bytes, timeout_seconds: float
            ) -> tuple[int, bytes, float | None]:
                answer = await super().post(headers, body, timeout_seconds)
                answered.set()
                return answer

        timed = Timed(self._step.service)
        source = KafkaSource(manifest("latency", topic, "ordered"), self._log, timed, timed, self._console)
        task = asyncio.create_task(source.run())
        durations = []
        for number in range(LATENCY_EVENTS):
            answered.clear()
            begun = time.perf_counter()
            await self._log.append(topic, record(number))
            await answered.wait()
            if number >= 20:
                durations.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(0.01)
        p50, p99 = statistics.median(durations), statistics.quantiles(durations, n=100)[98]
        print(f"{self._name:9} append to the step's answer      p50 {p50:.1f} ms   p99 {p99:.1f} ms", flush=True)
        begun_cpu, begun = time.process_time(), time.perf_counter()
        await asyncio.sleep(IDLE_SECONDS)
        idle = (time.process_time() - begun_cpu) / (time.perf_counter() - begun)
        print(f"{self._name:9} idle, one source                 {idle:.2%} of a core in this process", flush=True)
        task.cancel()
        await asyncio.wait([task])

    async def memory(self, events: int) -> None:
        """Catching up with a long backlog."""
        topic = await self.filled_topic(events)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reached = await self.catch_up(topic, events, "ordered", 1)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"{self._name:9} catching up {events:9,}            {reached:8,.0f} events/s   memory +{grown:.0f} MiB",
            flush=True,
        )


@asynccontextmanager
async def opened(name: str, folder: Path) -> AsyncIterator[Log]:
    """The log, on an engine of its own."""
    lines = (folder / f"{name}.log").open("w")
    async with AsyncExitStack() as stack:
        stack.callback(lines.close)
        if name == "kafka":
            kafka = Kafka(folder / "kafka", lambda line: print(line, file=lines))
            await kafka.start()
            stack.push_async_callback(kafka.stop)
            yield await stack.enter_async_context(KafkaLog.open(KafkaAddress((kafka.bootstrap_servers,))))
        else:
            server = PostgreSQL(folder / "postgresql", lambda line: print(line, file=lines))
            await server.start()
            stack.push_async_callback(server.stop)
            url = await server.ensure_database("log", "bench")
            yield await stack.enter_async_context(EmbeddedLog.open(url))


async def main(arguments: argparse.Namespace) -> None:
    """Measures the chosen logs, one after the other."""
    console = Console(io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.log:
            step = taker(console)
            await step.start()
            try:
                async with opened(name, Path(folder)) as log:
                    bench = Bench(name, log, step, console)
                    await bench.latency()
                    await bench.throughput(arguments.events)
                    await bench.memory(MILLION if arguments.million else arguments.backlog)
            finally:
                await step.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.load.eventing", description=__doc__)
    parser.add_argument("--log", action="append", choices=["embedded", "kafka"])
    parser.add_argument("--events", type=int, default=4_000, help="events in the topic that is caught up with")
    parser.add_argument("--backlog", type=int, default=100_000, help="events of the long backlog")
    parser.add_argument("--million", action="store_true", help="a long backlog of a million")
    parsed = parser.parse_args()
    parsed.log = parsed.log or ["embedded", "kafka"]
    asyncio.run(main(parsed))
