"""KafkaSource: a consumer group that posts a topic's events to a step, one at a time in each partition.

Its meaning is eventing-kafka-broker's: an offset is committed only after the subscriber's answer; what the subscriber
may yet take is tried again with a backoff; what it refuses, or does not take in time, goes to the dead-letter sink with
attributes that say why; then the partition goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

from local import kinds
from local.cloudevent import Headers, request_of_record, with_attributes
from local.console import Console
from local.kafka_sink import KafkaSinks
from local.log.port import Delivered, Log, LogUnavailable, Subscription
from local.service import Ended, Overloaded, Service

QUEUE_RECORDS_MAX: Final = 200
"""Records of one partition that are fetched ahead."""
BACKOFF_SECONDS_MAX: Final = 300.0
LOG_RETRY_SECONDS: Final = 0.5
ERROR_DATA_CHARACTERS_MAX: Final = 1024
# As in Knative's delivery: these, and 5xx, may pass by themselves.
RETRYABLE: Final = frozenset({404, 408, 409, 425, 429})


class Subscriber(Protocol):
    """Whatever takes events by HTTP."""

    name: str

    async def post(self, headers: Headers, body: bytes, timeout_seconds: float) -> tuple[int, bytes, float | None]:
        """Posts one event; answers status, body and Retry-After in seconds. Status 0: it did not answer."""


class SinkSubscriber:
    """A KafkaSink as a subscriber: a dead-letter topic."""

    def __init__(self, name: str, path: str, sinks: KafkaSinks) -> None:
        self.name = name
        self._path = path
        self._sinks = sinks

    async def post(self, headers: Headers, body: bytes, timeout_seconds: float) -> tuple[int, bytes, float | None]:
        """Appends the event to the sink's topic."""
        response = await self._sinks.append(self._path, headers, body)
        return response.status_code, bytes(response.body), None


class StepSubscriber:
    """A step as a subscriber."""

    def __init__(self, service: Service) -> None:
        self.name = service.name
        self._service = service

    async def post(self, headers: Headers, body: bytes, timeout_seconds: float) -> tuple[int, bytes, float | None]:
        """Posts the event to an instance."""
        lengthened = [*headers, (b"host", self.name.encode()), (b"content-length", str(len(body)).encode())]
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self._service.request("POST", b"/", lengthened, body, wait_seconds=timeout_seconds) as answer,
            ):
                content = b"".join([chunk async for chunk in answer.body])
                return answer.status, content, _retry_after_seconds(answer.headers)
        except (Overloaded, Ended, TimeoutError) as error:
            return 0, (str(error) or f"{self.name} did not answer within {timeout_seconds:.0f} s").encode(), None


def _retry_after_seconds(headers: Headers) -> float | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit():
            return float(value)
    return None


def backoff_seconds(delivery: kinds.Delivery, attempt: int, retry_after: float | None = None) -> float:
    """How long to wait before retry number attempt (from 1)."""
    base = delivery.backoffDelay.total_seconds()
    seconds = base * 2 ** (attempt - 1) if delivery.backoffPolicy == "exponential" else base * attempt
    return min(BACKOFF_SECONDS_MAX, max(seconds, retry_after or 0.0))


@dataclass
class Lane:
    """One partition: what waits, and whether something is being delivered."""

    waiting: deque[Delivered] = field(default_factory=deque)
    worker: asyncio.Task[None] | None = None


class KafkaSource:
    """A running source. delivered, retried and dead_lettered count since the start."""

    def __init__(
        self, manifest: kinds.KafkaSource, log: Log, subscriber: Subscriber, dead_letters: Subscriber, console: Console
    ) -> None:
        self.name = manifest.name
        self.spec = manifest.spec
        self.delivered = 0
        self.retried = 0
        self.dead_lettered = 0
        self._uri = f"/apis/v1/namespaces/{manifest.metadata.namespace}/kafkasources/{manifest.name}"
        self._log = log
        self._subscriber = subscriber
        self._dead_letters = dead_letters
        self._console = console

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.spec.consumerGroup

    async def run(self) -> None:
        """Delivers every topic until cancelled."""
        async with asyncio.TaskGroup() as group:
            for topic in self.spec.topics:
                group.create_task(self._run(topic))

    async def _run(self, topic: str) -> None:
        while True:
            try:
                subscription = await self._log.subscribe(self.group, topic, self.spec.initialOffset)
            except LogUnavailable:
                await asyncio.sleep(LOG_RETRY_SECONDS)
                continue
            reader = _Reader(self, subscription)
            try:
                await reader.run()
            except* LogUnavailable as errors:
                # What was under way is delivered again from the committed offset: at least once.
                self._console.say(f"source {self.name}: {errors.exceptions[0]}", level="warning")
                await asyncio.sleep(LOG_RETRY_SECONDS)
            finally:
                await subscription.close()

    async def deliver(self, delivered: Delivered) -> None:
        """Returns once the subscriber or the dead-letter sink has taken the event."""
        headers, body = request_of_record(delivered, self._uri)
        timeout_seconds = self.spec.delivery.timeout.total_seconds()
        attempt = 0
        while True:
            status, answer, retry_after = await self._subscriber.post(headers, body, timeout_seconds)
            if 200 <= status < 300:
                self.delivered += 1
                return
            may_pass = status == 0 or status >= 500 or status in RETRYABLE
            if not may_pass or attempt == self.spec.delivery.retry:
                break
            attempt += 1
            self.retried += 1
            await asyncio.sleep(backoff_seconds(self.spec.delivery, attempt, retry_after))
        await self._dead_letter(headers, body, status, answer)

    async def _dead_letter(self, headers: Headers, body: bytes, status: int, answer: bytes) -> None:
        reason = answer.decode(errors="replace")[:ERROR_DATA_CHARACTERS_MAX]
        error = {"knativeerrordest": self._subscriber.name, "knativeerrorcode": str(status), "knativeerrordata": reason}
        self._console.say(f"source {self.name}: dead letter ({status}): {reason}", level="warning")
        headers = with_attributes(headers, {name: value for name, value in error.items() if value})
        attempt = 0
        # The platform would drop the event where even this sink refuses; here it is kept until it is taken.
        while (
            not 200
            <= (await self._dead_letters.post(headers, body, self.spec.delivery.timeout.total_seconds()))[0]
            < 300
        ):
            attempt += 1
            await asyncio.sleep(backoff_seconds(self.spec.delivery, attempt))
        self.dead_lettered += 1


class _Reader:
    """One reading of a topic: a lane for each partition, and one writer of offsets."""

    def __init__(self, source: KafkaSource, subscription: Subscription) -> None:
        self._source = source
        self._subscription = subscription
        self._lanes: dict[int, Lane] = {}
        self._answered: dict[int, int] = {}
        self._uncommitted = asyncio.Event()

    async def run(self) -> None:
        """Reads, delivers and commits until something fails."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._commit())
            group.create_task(self._poll(group))

    async def _poll(self, group: asyncio.TaskGroup) -> None:
        while True:
            full = {partition for partition, lane in self._lanes.items() if len(lane.waiting) >= QUEUE_RECORDS_MAX}
            for delivered in await self._subscription.poll(full):
                lane = self._lanes.setdefault(delivered.partition, Lane())
                lane.waiting.append(delivered)
                if lane.worker is None or lane.worker.done():
                    lane.worker = group.create_task(self._drain(lane))

    async def _drain(self, lane: Lane) -> None:
        while lane.waiting:
            delivered = lane.waiting.popleft()
            if len(lane.waiting) == QUEUE_RECORDS_MAX - 1:
                self._subscription.wake()
            await self._source.deliver(delivered)
            self._answered[delivered.partition] = delivered.offset + 1
            self._uncommitted.set()

    async def _commit(self) -> None:
        """Commits what was answered since the last time, all partitions in one write."""
        while True:
            await self._uncommitted.wait()
            self._uncommitted.clear()
            offsets, self._answered = self._answered, {}
            await self._subscription.commit(offsets)
