"""KafkaSource: a consumer group that posts a topic's events to a step, one at a time in each partition, or unordered.

Its meaning is eventing-kafka-broker's: an offset is committed only after the subscriber's answer; what the subscriber
may yet take is tried again with a backoff; what it refuses, or does not take in time, goes to the dead-letter sink with
attributes that say why; then the partition goes on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from collections.abc import Set
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
UNORDERED_MAX: Final = 8
"""Events of one partition that are under way at once, where their order does not matter."""
UNCOMMITTED_RECORDS_MAX: Final = 5_000
"""Answered events of one partition that wait for one before them: what a crash then delivers again."""
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
        self.service = service

    async def post(self, headers: Headers, body: bytes, timeout_seconds: float) -> tuple[int, bytes, float | None]:
        """Posts the event to an instance."""
        lengthened = [*headers, (b"host", self.name.encode()), (b"content-length", str(len(body)).encode())]
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self.service.request("POST", b"/", lengthened, body, wait_seconds=timeout_seconds) as answer,
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


class Answered:
    """Which events of one partition were answered, and up to where that is without a hole."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._done: set[int] = set()

    def __len__(self) -> int:
        return len(self._open)

    def read(self, offset: int) -> None:
        """The event at this offset is to be answered; offsets come in their order."""
        self._open.append(offset)

    def answer(self, offset: int) -> int | None:
        """It was answered. Answers the offset to commit, None where one before it is still open."""
        self._done.add(offset)
        last = None
        while self._open and self._open[0] in self._done:
            last = self._open.popleft()
            self._done.remove(last)
        return None if last is None else last + 1


@dataclass
class Lane:
    """One partition: what waits, what is under way, what was answered."""

    waiting: deque[Delivered] = field(default_factory=deque)
    workers: set[asyncio.Task[None]] = field(default_factory=set)
    answered: Answered = field(default_factory=Answered)

    @property
    def is_full(self) -> bool:
        """Whether no more is to be read for now."""
        return len(self.waiting) >= QUEUE_RECORDS_MAX or len(self.answered) >= UNCOMMITTED_RECORDS_MAX


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
        self._reading: asyncio.Task[None] | None = None
        self._at_rest = asyncio.Lock()

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.spec.consumerGroup

    async def run(self) -> None:
        """Delivers every topic until cancelled."""
        while True:
            self._reading = asyncio.create_task(self._read())
            try:
                await asyncio.wait([self._reading])
            finally:
                self._reading.cancel()
                await asyncio.wait([self._reading])
            if not self._reading.cancelled():
                self._reading.result()
            async with self._at_rest:
                pass  # Whoever has stopped the reading lets it go on.

    async def rewind(self, start: int | dt.datetime) -> int:
        """Delivers again from this offset of each partition, or from the first event of that moment or later.

        Answers how many events that is. Raises GroupActive where others read for the same group, LogUnavailable.
        """
        async with self._at_rest:
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.wait([self._reading])
            return sum([await self._log.rewind(self.group, topic, start) for topic in self.spec.topics])

    async def _read(self) -> None:
        async with asyncio.TaskGroup() as group:
            for topic in self.spec.topics:
                for _ in range(self.spec.consumers):
                    group.create_task(self._consume(topic))

    async def _consume(self, topic: str) -> None:
        while True:
            reader = _Reader(self)
            try:
                subscription = await self._log.subscribe(self.group, topic, self.spec.initialOffset, reader.forget)
            except LogUnavailable:
                await asyncio.sleep(LOG_RETRY_SECONDS)
                continue
            try:
                await reader.run(subscription)
            except* LogUnavailable as errors:
                # What was under way is delivered again from the committed offset: at least once.
                self._console.say(f"source {self.name}: {errors.exceptions[0]}", level="warning")
            finally:
                await subscription.close()
            await asyncio.sleep(LOG_RETRY_SECONDS)

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
    """One member of the source's group: a lane for each partition, and one writer of offsets."""

    def __init__(self, source: KafkaSource) -> None:
        self._source = source
        self._at_once = 1 if source.spec.ordering == "ordered" else UNORDERED_MAX
        self._lanes: dict[int, Lane] = {}
        self._offsets: dict[int, int] = {}
        self._uncommitted = asyncio.Event()

    async def run(self, subscription: Subscription) -> None:
        """Reads, delivers and commits until something fails."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._commit(subscription))
            group.create_task(self._poll(subscription, group))

    def forget(self, partitions: Set[int]) -> None:
        """These are another member's now. What is under way is cut off: the other one delivers it."""
        for partition in partitions:
            self._offsets.pop(partition, None)
            lane = self._lanes.pop(partition, None)
            for worker in lane.workers if lane else ():
                worker.cancel()

    async def _poll(self, subscription: Subscription, group: asyncio.TaskGroup) -> None:
        while True:
            full = {partition for partition, lane in self._lanes.items() if lane.is_full}
            for delivered in await subscription.poll(full):
                lane = self._lanes.setdefault(delivered.partition, Lane())
                lane.waiting.append(delivered)
                lane.answered.read(delivered.offset)
                if len(lane.workers) < self._at_once:
                    worker = group.create_task(self._drain(lane, subscription))
                    lane.workers.add(worker)
                    worker.add_done_callback(lane.workers.discard)

    async def _drain(self, lane: Lane, subscription: Subscription) -> None:
        while lane.waiting:
            was_full = lane.is_full
            delivered = lane.waiting.popleft()
            if was_full and not lane.is_full:
                subscription.wake()
            await self._source.deliver(delivered)
            was_full = lane.is_full
            offset = lane.answered.answer(delivered.offset)
            if was_full and not lane.is_full:
                subscription.wake()
            if offset is not None:
                self._offsets[delivered.partition] = offset
                self._uncommitted.set()

    async def _commit(self, subscription: Subscription) -> None:
        """Commits what was answered since the last time, all partitions in one write."""
        while True:
            await self._uncommitted.wait()
            self._uncommitted.clear()
            offsets, self._offsets = self._offsets, {}
            await subscription.commit(offsets)
