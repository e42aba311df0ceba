"""What every log must do. Each test runs on each implementation of the port."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Set
from contextlib import AbstractAsyncContextManager

import pytest

from local.log.embedded import EmbeddedLog
from local.log.kafka import KafkaLog
from local.log.kafka_client import KafkaAddress
from local.log.port import Delivered, GroupActive, Log, Record, Subscription, Topic, UnknownTopic
from tests.waiting import until

pytestmark = pytest.mark.anyio

LogOpener = Callable[[], AbstractAsyncContextManager[Log]]


@pytest.fixture(params=["embedded", "kafka"])
def open_log(request: pytest.FixtureRequest) -> LogOpener:
    """Opens the log; opened again it is the same log, as after a restart."""
    if request.param == "embedded":
        url = request.getfixturevalue("postgres_url")("log")
        return lambda: EmbeddedLog.open(url, retention_check_seconds=0.1)
    address = KafkaAddress((request.getfixturevalue("kafka").bootstrap_servers,))
    return lambda: KafkaLog.open(address)


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"t-{uuid.uuid4()}"


@pytest.fixture
def group() -> str:
    """A group that no other test uses."""
    return f"g-{uuid.uuid4()}"


@pytest.fixture
async def log(open_log: LogOpener, topic: str) -> AsyncIterator[Log]:
    async with open_log() as opened:
        await opened.create(Topic(topic, partitions=4))
        yield opened


async def read(subscription: Subscription, count: int) -> list[Delivered]:
    records: list[Delivered] = []
    async with asyncio.timeout(30):
        while len(records) < count:
            records += await subscription.poll(frozenset())
    return records


async def test_records_of_one_key_lie_in_one_partition_in_their_order(log: Log, topic: str, group: str) -> None:
    for number in range(60):
        await log.append(topic, Record(str(number).encode(), f"key{number % 6}".encode()))
    by_key = defaultdict(list)
    for delivered in await read(await log.subscribe(group, topic, "earliest"), 60):
        by_key[delivered.record.key].append((delivered.partition, int(delivered.record.value)))
    assert len(by_key) == 6
    for places in by_key.values():
        assert len({partition for partition, _ in places}) == 1
        assert [number for _, number in places] == sorted(number for _, number in places)


async def test_concurrent_appends_get_offsets_without_holes(log: Log, topic: str, group: str) -> None:
    places = await asyncio.gather(*(log.append(topic, Record(b"x", str(n).encode())) for n in range(500)))
    by_partition = defaultdict(list)
    for partition, offset in places:
        by_partition[partition].append(offset)
    for offsets in by_partition.values():
        assert sorted(offsets) == list(range(len(offsets)))


async def test_a_record_comes_back_as_it_was_appended(log: Log, topic: str, group: str) -> None:
    record = Record(bytes(range(256)), b"\x00key\xff", (("ce_id", "é".encode()), ("other", b"\xff\x00"[:1])))
    await log.append(topic, record)
    assert (await read(await log.subscribe(group, topic, "earliest"), 1))[0].record == record


async def test_an_event_of_a_mebibyte_is_taken(log: Log, topic: str, group: str) -> None:
    value = b"x" * 1024 * 1024
    await log.append(topic, Record(value, b"k"))
    assert (await read(await log.subscribe(group, topic, "earliest"), 1))[0].record.value == value


async def test_a_reader_that_waits_is_woken_by_an_append(log: Log, topic: str, group: str) -> None:
    subscription = await log.subscribe(group, topic, "earliest")
    assert await subscription.poll(frozenset()) == []
    reading = asyncio.create_task(read(subscription, 1))
    await log.append(topic, Record(b"x", b"k"))
    assert [delivered.record.value for delivered in await reading] == [b"x"]


async def test_each_group_reads_everything(log: Log, topic: str, group: str) -> None:
    for number in range(10):
        await log.append(topic, Record(b"x", str(number).encode()))
    for suffix in ("a", "b"):
        assert len(await read(await log.subscribe(group + suffix, topic, "earliest"), 10)) == 10


async def test_a_group_goes_on_where_it_committed_after_a_restart(open_log: LogOpener, topic: str, group: str) -> None:
    async with open_log() as log:
        await log.create(Topic(topic, partitions=4))
        for number in range(5):
            await log.append(topic, Record(str(number).encode(), b"k"))
        subscription = await log.subscribe(group, topic, "earliest")
        third = (await read(subscription, 5))[2]
        await subscription.commit({third.partition: third.offset + 1})
    async with open_log() as log:
        assert (await log.lag(group, topic)).records == 2
        again = await read(await log.subscribe(group, topic, "earliest"), 2)
        assert [delivered.record.value for delivered in again] == [b"3", b"4"]


async def test_a_commit_never_goes_back(log: Log, topic: str, group: str) -> None:
    partition, _ = await log.append(topic, Record(b"x", b"k"))
    subscription = await log.subscribe(group, topic, "earliest")
    await read(subscription, 1)
    await subscription.commit({partition: 1})
    await subscription.commit({partition: 0})
    assert (await log.lag(group, topic)).records == 0


async def test_a_new_group_at_latest_reads_only_what_comes_after(log: Log, topic: str, group: str) -> None:
    await log.append(topic, Record(b"before", b"k"))
    subscription = await log.subscribe(group, topic, "latest")
    await log.append(topic, Record(b"after", b"k"))
    assert [delivered.record.value for delivered in await read(subscription, 1)] == [b"after"]


async def test_a_paused_partition_waits_and_loses_nothing(log: Log, topic: str, group: str) -> None:
    partition, _ = await log.append(topic, Record(b"x", b"k"))
    subscription = await log.subscribe(group, topic, "earliest")
    assert await subscription.poll({partition}) == []
    subscription.wake()
    assert [delivered.record.value for delivered in await read(subscription, 1)] == [b"x"]


async def test_a_topic_that_was_never_made_is_refused(log: Log) -> None:
    with pytest.raises(UnknownTopic):
        await log.append("nowhere", Record(b"x", None))


async def test_the_size_counts_what_was_appended(log: Log, topic: str, group: str) -> None:
    for _ in range(3):
        await log.append(topic, Record(b"x", None))
    assert await log.size(topic) == 3


class Member:
    """Reads in the background, committing each record, and knows which partitions it was told to forget."""

    def __init__(self, log: Log, topic: str, group: str) -> None:
        self.read: list[Delivered] = []
        self.forgotten: set[int] = set()
        self._subscribing = log.subscribe(group, topic, "earliest", self._forget)
        self._task: asyncio.Task[None] | None = None
        self.subscription: Subscription

    def _forget(self, partitions: Set[int]) -> None:
        self.forgotten |= partitions

    async def join(self) -> Member:
        self.subscription = await self._subscribing
        self._task = asyncio.create_task(self._work())
        return self

    async def _work(self) -> None:
        while True:
            for delivered in await self.subscription.poll(frozenset()):
                self.read.append(delivered)
                await self.subscription.commit({delivered.partition: delivered.offset + 1})

    @property
    def partitions(self) -> set[int]:
        return {delivered.partition for delivered in self.read}

    async def stop(self) -> None:
        """Stops reading without leaving."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def leave(self) -> None:
        await self.stop()
        await self.subscription.close()


async def append_to_all(log: Log, topic: str, marker: str) -> set[bytes]:
    """Appends until each of the four partitions has some of these records."""
    values: set[bytes] = set()
    partitions: set[int] = set()
    while len(partitions) < 4:
        value = f"{marker}-{len(values)}".encode()
        partition, _ = await log.append(topic, Record(value, value))
        values.add(value)
        partitions.add(partition)
    return values


async def test_members_share_the_partitions_and_those_who_stay_take_over(log: Log, topic: str, group: str) -> None:
    first = await Member(log, topic, group).join()
    values = await append_to_all(log, topic, "alone")
    await until(lambda: len(first.read) == len(values), "one member reads everything")
    second = await Member(log, topic, group).join()
    await until(lambda: len(first.forgotten) == 2, "half of the partitions were taken from the first")
    await append_to_all(log, topic, "shared")

    async def read_by_both() -> bool:
        return (await log.lag(group, topic)).records == 0 and bool(second.read)

    await until(read_by_both, "both read")
    assert second.partitions == first.forgotten
    await second.leave()
    values = await append_to_all(log, topic, "again")
    await until(lambda: values <= {each.record.value for each in first.read}, "the first has it all again")
    await first.leave()


async def test_a_killed_members_partitions_are_read_by_the_others_and_nothing_is_lost(
    log: Log, topic: str, group: str, request: pytest.FixtureRequest
) -> None:
    engine = request.node.callspec.params["open_log"]
    survivor = await Member(log, topic, group).join()
    where = request.getfixturevalue("kafka").bootstrap_servers if engine == "kafka" else log._url  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "tests.local.member", engine, where, group, topic]
    victim = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    await until(lambda: len(survivor.forgotten) == 2, "the other member has its share")
    values = await append_to_all(log, topic, "read by two")
    assert victim.stdout is not None
    assert await victim.stdout.readline() == b"read and not committed\n"
    victim.kill()
    await victim.wait()
    values |= await append_to_all(log, topic, "after")
    await until(lambda: values <= {each.record.value for each in survivor.read}, "the survivor reads all of it")
    await survivor.leave()


async def test_a_commit_for_what_is_anothers_by_now_is_left_out(log: Log, topic: str, group: str) -> None:
    first = await log.subscribe(group, topic, "earliest")
    partition, _ = await log.append(topic, Record(b"x", b"k"))
    await read(first, 1)
    await first.close()
    second = await log.subscribe(group, topic, "earliest")
    await read(second, 1)
    stranger = 3 - partition if partition != 3 - partition else 0
    await second.commit({99: 1, stranger: 0})
    assert (await log.lag(group, topic)).records == 1


async def test_a_group_is_rewound_to_an_offset_or_a_time_while_nobody_reads(log: Log, topic: str, group: str) -> None:
    subscription = await log.subscribe(group, topic, "earliest")
    for number in range(3):
        await log.append(topic, Record(str(number).encode(), b"k"))
    records = await read(subscription, 3)
    await subscription.commit({records[0].partition: 3})
    with pytest.raises(GroupActive):
        await log.rewind(group, topic, 0)
    await subscription.close()
    assert await log.rewind(group, topic, 1) == 2
    assert [each.record.value for each in await _reread(log, group, topic, 2)] == [b"1", b"2"]
    assert await log.rewind(group, topic, 99) == 0
    assert await log.rewind(group, topic, records[0].timestamp - dt.timedelta(seconds=1)) == 3
    assert await log.rewind(group, topic, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60)) == 0


async def _reread(log: Log, group: str, topic: str, count: int) -> list[Delivered]:
    subscription = await log.subscribe(group, topic, "earliest")
    try:
        return await read(subscription, count)
    finally:
        await subscription.close()


async def test_records_beyond_the_retention_are_gone_and_nobody_waits_for_them(
    log: Log, topic: str, group: str
) -> None:
    short = f"{topic}-short"
    await log.create(Topic(short, 1, dt.timedelta(milliseconds=200), config={"segment.ms": "100"}))
    await log.append(short, Record(b"old", b"k"))
    assert (await log.lag(group, short)).records == 1

    await (await log.subscribe(group, short, "earliest")).close()

    async def some_are_gone() -> bool:
        # Kafka removes whole segments, and begins a new one with a new record.
        await log.append(short, Record(b"new", b"k"))
        return (await log.lag(f"{group}-fresh", short)).records < await log.size(short)

    await until(some_are_gone, "old records are gone")
    reading = asyncio.create_task(read(await log.subscribe(group, short, "earliest"), 1))
    while not reading.done():
        await log.append(short, Record(b"new", b"k"))
    assert (await reading)[0].record.value == b"new"


async def test_partitions_can_be_added_and_are_never_taken_away(log: Log, topic: str) -> None:
    await log.create(Topic(topic, partitions=6))
    await log.create(Topic(topic, partitions=2))
    async with asyncio.timeout(30):
        while (await log.append(topic, Record(b"x", str(uuid.uuid4()).encode())))[0] < 4:
            pass


async def test_the_event_loop_goes_on_while_the_log_waits(log: Log, topic: str, group: str) -> None:
    """A reader that waits for records, on whichever engine, holds up nothing else."""
    reading = asyncio.create_task(read(await log.subscribe(group, topic, "earliest"), 1))
    places = await asyncio.gather(*(log.append(topic, Record(b"x", str(n).encode())) for n in range(50)))
    assert len(places) == 50
    assert await reading
