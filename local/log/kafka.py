"""The log on Apache Kafka.

kafka-python runs its connections, heartbeats and retries in threads of its own. So each subscription has one thread
that polls, appends are answered by the producer's callbacks, and everything else that waits does so in a small pool:
the event loop never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Literal, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as refused
from kafka.admin import OffsetSpec, OffsetTimestamp
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import OffsetAndMetadata

from functions.domain.error import Busy
from local.log.kafka_client import KafkaAddress
from local.log.port import (
    Delivered,
    Forget,
    GroupActive,
    Lag,
    LogUnavailable,
    Record,
    Topic,
    UnknownTopic,
    nothing_held,
)

RECORD_BYTES_MAX: Final = 2 * 1024 * 1024
"""An event of a mebibyte with its attributes fits."""
APPENDING_MAX: Final = 20_000
"""Records that wait for the broker's acknowledgement."""
APPEND_MILLISECONDS_MAX: Final = 8_000
"""Less than a publisher waits for the sink's answer, so that it hears of a broker that is away."""
REQUEST_MILLISECONDS_MAX: Final = 5_000
COMMIT_SECONDS_MAX: Final = 10.0
RETRY_SECONDS: Final = 0.05
ADMIN_RETRY_SECONDS: Final = 0.3
FETCH_WAIT_MILLISECONDS: Final = 500
"""How long a broker holds a fetch that finds nothing: the price of being idle, and the wait of a resumed partition."""
SESSION_MILLISECONDS: Final = 6_000
"""A member that was killed is missed after this."""
HEARTBEAT_MILLISECONDS: Final = 1_500
AHEAD_RECORDS_MAX: Final = 1_000
"""Records of one partition that are read ahead; at half of it more are fetched."""
POLL_RECORDS_MAX: Final = 500
TAKEN_RECORDS_MAX: Final = 100
"""Records of one partition that one poll answers."""
CLOSE_MILLISECONDS_MAX: Final = 3_000
THREADS_MAX: Final = 64
GROUP_IS_ACTIVE: Final = (
    refused.UnknownMemberIdError,
    refused.RebalanceInProgressError,
    refused.IllegalGenerationError,
    refused.NonEmptyGroupError,
)

Result = TypeVar("Result")

# What the client tells of a broker that is away is told here by LogUnavailable, once, and not line by line.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _away_is_unavailable() -> Iterator[None]:
    try:
        yield
    except (refused.KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(f"Kafka does not answer: {type(error).__name__} {error}") from error


class KafkaLog:
    """A log on an existing cluster. Open it with open()."""

    def __init__(self, address: KafkaAddress, producer: KafkaProducer, admin: KafkaAdminClient) -> None:
        self._address = address
        self._producer = producer
        self._admin = admin
        self._threads = ThreadPoolExecutor(THREADS_MAX, "kafka-log")
        self._loop = asyncio.get_running_loop()
        self._administration = ThreadPoolExecutor(1, "kafka-administration")
        self._known: set[str] = set()
        self._looking_up = asyncio.Lock()
        self._appending = 0
        self._subscriptions: set[KafkaSubscription] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, address: KafkaAddress) -> AsyncIterator[KafkaLog]:
        """The log at this address. Raises LogUnavailable where no broker answers."""
        with _away_is_unavailable():
            admin = await asyncio.to_thread(_admin, address)
            producer = await asyncio.to_thread(
                lambda: KafkaProducer(
                    **address.options(),
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=RECORD_BYTES_MAX,
                    max_block_ms=APPEND_MILLISECONDS_MAX,
                    delivery_timeout_ms=APPEND_MILLISECONDS_MAX,
                    request_timeout_ms=REQUEST_MILLISECONDS_MAX,
                    allow_auto_create_topics=False,
                    metrics_enabled=False,
                )
            )
        log = cls(address, producer, admin)
        try:
            yield log
        finally:
            await log.close()

    async def create(self, topic: Topic) -> None:
        """Makes the topic, with no more replicas than there are brokers, or adds partitions to it."""
        retention_ms = -1 if topic.retention is None else int(topic.retention.total_seconds() * 1000)

        def create() -> None:
            replicas = min(topic.replicas, len(self._admin.describe_cluster()["brokers"]))
            in_sync = min(int(topic.config.get("min.insync.replicas", 1)), replicas)
            configs = {
                **topic.config,
                "retention.ms": str(retention_ms),
                "min.insync.replicas": str(in_sync),
                "max.message.bytes": str(RECORD_BYTES_MAX),
            }
            wanted = {"num_partitions": topic.partitions, "replication_factor": replicas, "configs": configs}
            try:
                self._admin.create_topics({topic.name: wanted}, wait_for_metadata=True)
            except refused.TopicAlreadyExistsError:
                if self._count(topic.name) < topic.partitions:
                    self._admin.create_partitions({topic.name: topic.partitions})

        await self._wait_for(create)

    async def append(self, topic: str, record: Record) -> tuple[int, int]:
        """Appends once all replicas in sync have it. Raises Busy where too many wait already."""
        async with self._looking_up:
            if topic not in self._known:
                # The first metadata of a topic is waited for in a thread; later the producer has it.
                await self._wait_for(lambda: self._count(topic))
                with _away_is_unavailable():
                    await self._in_thread(lambda: self._producer.partitions_for(topic))
                self._known.add(topic)
        if self._appending >= APPENDING_MAX:
            raise Busy("too many appends wait for Kafka already")
        answered: asyncio.Future[tuple[int, int]] = self._loop.create_future()

        def succeeded(metadata: Any) -> None:
            self._loop.call_soon_threadsafe(_answer, answered, (metadata.partition, metadata.offset))

        def failed(error: BaseException) -> None:
            self._loop.call_soon_threadsafe(_refuse, answered, error)

        self._appending += 1
        try:
            with _away_is_unavailable():
                sent = self._producer.send(topic, record.value, record.key, list(record.headers))
                sent.add_callback(succeeded)
                sent.add_errback(failed)
                return await answered
        finally:
            self._appending -= 1

    async def subscribe(
        self, group: str, topic: str, initial_offset: Literal["earliest", "latest"], forget: Forget = nothing_held
    ) -> KafkaSubscription:
        """Joins the group; what its members read is shared out anew."""
        await self._wait_for(lambda: self._start_group(group, topic, initial_offset))
        with _away_is_unavailable():
            consumer = await self._in_thread(
                lambda: KafkaConsumer(
                    **self._address.options(),
                    group_id=group,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    allow_auto_create_topics=False,
                    partition_assignment_strategy=(CooperativeStickyAssignor,),
                    session_timeout_ms=SESSION_MILLISECONDS,
                    heartbeat_interval_ms=HEARTBEAT_MILLISECONDS,
                    fetch_max_wait_ms=FETCH_WAIT_MILLISECONDS,
                    max_partition_fetch_bytes=RECORD_BYTES_MAX,
                    max_poll_records=POLL_RECORDS_MAX,
                    request_timeout_ms=REQUEST_MILLISECONDS_MAX,
                    metrics_enabled=False,
                )
            )
        subscription = KafkaSubscription(consumer, topic, forget, self._in_thread, self._subscriptions.discard)
        self._subscriptions.add(subscription)
        subscription.start()
        return subscription

    async def rewind(self, group: str, topic: str, start: int | dt.datetime) -> int:
        """Sets the group's offsets; Kafka refuses it while the group has members."""

        def rewind() -> None:
            wanted = start if isinstance(start, int) else OffsetTimestamp(int(start.timestamp() * 1000))
            answers = self._admin.reset_group_offsets(group, dict.fromkeys(self._places(topic), wanted))
            for answer in answers.values():
                _raise_where_active(group, answer["error"])

        await self._wait_for(rewind)
        return (await self.lag(group, topic)).records

    async def lag(self, group: str, topic: str) -> Lag:
        """How far the group is behind."""

        def lag() -> int:
            places = self._places(topic)
            ends = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
            committed = self._committed(group, places)
            begins = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            return sum(ends[place].offset - max(begins[place].offset, committed.get(place, 0)) for place in places)

        return Lag(group, topic, await self._wait_for(lag))

    async def size(self, topic: str) -> int:
        """How many records were ever appended to the topic."""

        def size() -> int:
            ends = self._admin.list_partition_offsets(dict.fromkeys(self._places(topic), OffsetSpec.LATEST))
            return sum(end.offset for end in ends.values())

        return await self._wait_for(size)

    async def close(self) -> None:
        """Leaves all groups and ends the connections."""
        await asyncio.gather(*(subscription.close() for subscription in tuple(self._subscriptions)))
        await self._in_thread(lambda: self._producer.close(timeout=CLOSE_MILLISECONDS_MAX / 1000))
        await self._loop.run_in_executor(self._administration, self._close_admin)
        self._administration.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await self._loop.run_in_executor(self._threads, work)

    async def _wait_for(self, work: Callable[[], Result]) -> Result:
        """Does what the admin client is for: one thing at a time, and again where the cluster is not ready for it."""
        deadline = self._loop.time() + REQUEST_MILLISECONDS_MAX / 1000
        with _away_is_unavailable():
            while True:
                try:
                    return await self._loop.run_in_executor(self._administration, work)
                except refused.RetriableError:
                    if self._loop.time() > deadline:
                        raise
                await asyncio.sleep(ADMIN_RETRY_SECONDS)
                await self._loop.run_in_executor(self._administration, self._renew_admin)

    def _close_admin(self) -> None:
        self._admin.close()

    def _renew_admin(self) -> None:
        """A new client: the old one asks for ever the broker that once coordinated a group, also when another does."""
        old, self._admin = self._admin, _admin(self._address)
        with contextlib.suppress(refused.KafkaError, RuntimeError):  # What is left of its connections is of no use.
            old.close()

    def _count(self, topic: str) -> int:
        described = self._admin.describe_topics([topic])
        if not described or described[0]["error_code"] == refused.UnknownTopicOrPartitionError.errno:
            raise UnknownTopic(f"there is no topic {topic}")
        return len(described[0]["partitions"])

    def _places(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for partition in range(self._count(topic))]

    def _committed(self, group: str, places: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        found = self._admin.list_group_offsets({group: list(places)})[group]
        return {place: committed.offset for place, committed in found.items() if committed.offset >= 0}

    def _start_group(self, group: str, topic: str, initial_offset: Literal["earliest", "latest"]) -> None:
        """Commits where a new group starts: it is decided now, and not when the first record has been fetched."""
        places = self._places(topic)
        committed = self._committed(group, places)
        fresh = [place for place in places if place not in committed]
        if not fresh:
            return
        spec = OffsetSpec.EARLIEST if initial_offset == "earliest" else OffsetSpec.LATEST
        starts = self._admin.list_partition_offsets(dict.fromkeys(fresh, spec))
        # Where the group has members already, they have done the same.
        self._admin.alter_group_offsets(
            group, {place: OffsetAndMetadata(start.offset, "", -1) for place, start in starts.items()}
        )


def _admin(address: KafkaAddress) -> KafkaAdminClient:
    return KafkaAdminClient(**address.options(), request_timeout_ms=REQUEST_MILLISECONDS_MAX)


def _raise_where_active(group: str, error: type[Exception]) -> None:
    if issubclass(error, GROUP_IS_ACTIVE):
        raise GroupActive(f"the group {group} is being read; stop its members first")
    if error is not refused.NoError:
        raise error()


def _answer(future: asyncio.Future[tuple[int, int]], place: tuple[int, int]) -> None:
    if not future.done():
        future.set_result(place)


def _refuse(future: asyncio.Future[tuple[int, int]], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


class KafkaSubscription:
    """A member of a group: a thread that polls, and what it has read ahead.

    A share of a partition has a number. What a thread has read under a number that is over by the time it reaches the
    event loop is dropped: it is read again by whoever has the partition then.
    """

    def __init__(
        self,
        consumer: KafkaConsumer,
        topic: str,
        forget: Forget,
        in_thread: Callable[[Callable[[], Any]], Any],
        closed: Callable[[KafkaSubscription], None],
    ) -> None:
        self.topic = topic
        self._consumer = consumer
        self._forget = forget
        self._in_thread = in_thread
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, name=f"kafka-read-{topic}", daemon=True)
        self._closing = threading.Event()
        self._shares: dict[int, int] = {}
        """As the threads see them; owned is the same as the event loop does."""
        self._share_number = 0
        self._owned: dict[int, int] = {}
        self._ahead: dict[int, deque[Delivered]] = {}
        self._committed: dict[int, int] = {}
        self._wakeup = asyncio.Event()
        self._wakeup.set()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Joins the group and reads."""
        self._consumer.subscribe([self.topic], listener=_Shares(self._assigned, self._revoked))
        self._thread.start()

    async def poll(self, paused: Set[int]) -> Sequence[Delivered]:
        """The next records; sleeps while there are none."""
        await self._wakeup.wait()
        self._wakeup.clear()
        if self._failure is not None:
            raise LogUnavailable(f"Kafka does not answer: {self._failure}") from self._failure
        taken: list[Delivered] = []
        for partition, ahead in self._ahead.items():
            if partition not in paused:
                taken += [ahead.popleft() for _ in range(min(TAKEN_RECORDS_MAX, len(ahead)))]
                if ahead:
                    self._wakeup.set()
        return taken

    def wake(self) -> None:
        """Makes a waiting poll look again."""
        self._wakeup.set()

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commits what is this member's; while the group is being shared out anew, after that."""
        deadline = self._loop.time() + COMMIT_SECONDS_MAX
        while True:
            wanted = {
                TopicPartition(self.topic, partition): OffsetAndMetadata(offset, "", -1)
                for partition, offset in offsets.items()
                if partition in self._owned and offset > self._committed.get(partition, -1)
            }
            if not wanted:
                return
            try:
                await self._in_thread(partial(self._consumer.commit, wanted, timeout_ms=COMMIT_SECONDS_MAX * 1000))
            except (refused.CommitFailedError, *GROUP_IS_ACTIVE) as error:
                if self._loop.time() > deadline:
                    raise LogUnavailable(f"the group does not settle: {error}") from error
                await asyncio.sleep(RETRY_SECONDS)
            except (refused.KafkaError, RuntimeError) as error:
                raise LogUnavailable(f"Kafka does not answer: {type(error).__name__} {error}") from error
            else:
                for place, committed in wanted.items():
                    self._committed[place.partition] = committed.offset
                return

    async def close(self) -> None:
        """Leaves the group, so that others need not wait for the session's end."""
        if not self._closing.is_set():
            self._closing.set()
            await self._in_thread(self._leave)
            self._closed(self)

    def _leave(self) -> None:
        self._thread.join()
        with contextlib.suppress(refused.KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=CLOSE_MILLISECONDS_MAX)

    def _read(self) -> None:
        """The thread: polls, and holds back the partitions of which enough is read ahead."""
        held: set[int] = set()
        try:
            while not self._closing.is_set():
                self._hold(held)
                polled = self._consumer.poll(timeout_ms=FETCH_WAIT_MILLISECONDS)
                shares = dict(self._shares)
                batch = [
                    (shares.get(place.partition, 0), [_delivered(record) for record in records])
                    for place, records in polled.items()
                ]
                if batch:
                    self._loop.call_soon_threadsafe(self._arrived, batch)
        except BaseException as error:  # It is raised again by poll(), in the event loop.
            with contextlib.suppress(RuntimeError):  # The loop may be closed already.
                self._loop.call_soon_threadsafe(self._fail, error)

    def _hold(self, held: set[int]) -> None:
        owned = {place.partition for place in self._consumer.assignment()}
        held &= owned
        waiting = {partition: len(self._ahead.get(partition, ())) for partition in owned}
        full = {partition for partition, count in waiting.items() if count >= AHEAD_RECORDS_MAX} - held
        drained = {partition for partition in held if waiting[partition] <= AHEAD_RECORDS_MAX // 2}
        self._consumer.pause(*(TopicPartition(self.topic, partition) for partition in full))
        self._consumer.resume(*(TopicPartition(self.topic, partition) for partition in drained))
        held |= full
        held -= drained

    # These two run in the client's thread, which waits for them: the shares change before anybody reads by them.

    def _assigned(self, places: Collection[TopicPartition]) -> None:
        shares = {}
        for place in places:
            self._share_number += 1
            shares[place.partition] = self._share_number
        self._shares |= shares
        self._loop.call_soon_threadsafe(self._take, shares)

    def _revoked(self, places: Collection[TopicPartition]) -> None:
        for place in places:
            self._shares.pop(place.partition, None)
        with contextlib.suppress(RuntimeError):  # The loop may be closed already.
            self._loop.call_soon_threadsafe(self._give, {place.partition for place in places})

    # What follows runs in the event loop, in the order in which the threads asked for it.

    def _take(self, shares: Mapping[int, int]) -> None:
        self._owned |= shares

    def _give(self, partitions: Set[int]) -> None:
        for partition in partitions:
            self._owned.pop(partition, None)
            self._ahead.pop(partition, None)
            self._committed.pop(partition, None)
        if partitions:
            self._forget(partitions)

    def _arrived(self, batch: Sequence[tuple[int, Sequence[Delivered]]]) -> None:
        for share, records in batch:
            partition = records[0].partition
            if self._owned.get(partition) == share:
                self._ahead.setdefault(partition, deque()).extend(records)
        self._wakeup.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._wakeup.set()


class _Shares(ConsumerRebalanceListener):  # type: ignore[misc] # the package has no types
    """Tells a subscription how its share changes."""

    def __init__(
        self, assigned: Callable[[Collection[TopicPartition]], None], revoked: Callable[[Collection[Any]], None]
    ) -> None:
        self._assigned = assigned
        self._revoked = revoked

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """More is ours."""
        self._assigned(assigned)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Less is ours, also where the group threw this member out."""
        self._revoked(revoked)


def _delivered(record: Any) -> Delivered:
    timestamp = dt.datetime.fromtimestamp(record.timestamp / 1000, dt.UTC)
    content = Record(record.value or b"", record.key, tuple(record.headers))
    return Delivered(content, record.topic, record.partition, record.offset, timestamp)
