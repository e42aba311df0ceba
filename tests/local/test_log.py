"""What every log must do. Each test runs on each implementation of the port."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from local.log.embedded import EmbeddedLog
from local.log.port import Delivered, Log, Record, Subscription, Topic, UnknownTopic

pytestmark = pytest.mark.anyio

LogOpener = Callable[[], AbstractAsyncContextManager[Log]]
TOPIC = Topic("t", partitions=4)


@pytest.fixture
def open_log(postgres_url: Callable[[str], str]) -> LogOpener:
    """Opens the log; opened again it is the same log, as after a restart."""
    url = postgres_url("log")
    return lambda: EmbeddedLog.open(url)


@pytest.fixture
async def log(open_log: LogOpener) -> AsyncIterator[Log]:
    async with open_log() as opened:
        await opened.create(TOPIC)
        yield opened


async def read(subscription: Subscription, count: int) -> list[Delivered]:
    records: list[Delivered] = []
    async with asyncio.timeout(30):
        while len(records) < count:
            records += await subscription.poll(frozenset())
    return records


async def test_records_of_one_key_lie_in_one_partition_in_their_order(log: Log) -> None:
    for number in range(60):
        await log.append("t", Record(str(number).encode(), f"key{number % 6}".encode()))
    by_key = defaultdict(list)
    for delivered in await read(await log.subscribe("g", "t", "earliest"), 60):
        by_key[delivered.record.key].append((delivered.partition, int(delivered.record.value)))
    assert len(by_key) == 6
    for places in by_key.values():
        assert len({partition for partition, _ in places}) == 1
        assert [number for _, number in places] == sorted(number for _, number in places)


async def test_concurrent_appends_get_offsets_without_holes(log: Log) -> None:
    places = await asyncio.gather(*(log.append("t", Record(b"x", str(n).encode())) for n in range(500)))
    by_partition = defaultdict(list)
    for partition, offset in places:
        by_partition[partition].append(offset)
    for offsets in by_partition.values():
        assert sorted(offsets) == list(range(len(offsets)))


async def test_a_record_comes_back_as_it_was_appended(log: Log) -> None:
    record = Record(bytes(range(256)), b"\x00key\xff", (("ce_id", "é".encode()), ("other", b"\xff\x00"[:1])))
    await log.append("t", record)
    assert (await read(await log.subscribe("g", "t", "earliest"), 1))[0].record == record


async def test_an_event_of_a_mebibyte_is_taken(log: Log) -> None:
    value = b"x" * 1024 * 1024
    await log.append("t", Record(value, b"k"))
    assert (await read(await log.subscribe("g", "t", "earliest"), 1))[0].record.value == value


async def test_a_reader_that_waits_is_woken_by_an_append(log: Log) -> None:
    subscription = await log.subscribe("g", "t", "earliest")
    assert await subscription.poll(frozenset()) == []
    reading = asyncio.create_task(read(subscription, 1))
    await log.append("t", Record(b"x", b"k"))
    assert [delivered.record.value for delivered in await reading] == [b"x"]


async def test_each_group_reads_everything(log: Log) -> None:
    for number in range(10):
        await log.append("t", Record(b"x", str(number).encode()))
    for group in ("a", "b"):
        assert len(await read(await log.subscribe(group, "t", "earliest"), 10)) == 10


async def test_a_group_goes_on_where_it_committed_after_a_restart(open_log: LogOpener) -> None:
    async with open_log() as log:
        await log.create(TOPIC)
        for number in range(5):
            await log.append("t", Record(str(number).encode(), b"k"))
        subscription = await log.subscribe("g", "t", "earliest")
        third = (await read(subscription, 5))[2]
        await subscription.commit({third.partition: third.offset + 1})
    async with open_log() as log:
        assert (await log.lag("g", "t")).records == 2
        again = await read(await log.subscribe("g", "t", "earliest"), 2)
        assert [delivered.record.value for delivered in again] == [b"3", b"4"]


async def test_a_commit_never_goes_back(log: Log) -> None:
    partition, _ = await log.append("t", Record(b"x", b"k"))
    subscription = await log.subscribe("g", "t", "earliest")
    await subscription.commit({partition: 1})
    await subscription.commit({partition: 0})
    assert (await log.lag("g", "t")).records == 0


async def test_a_new_group_at_latest_reads_only_what_comes_after(log: Log) -> None:
    await log.append("t", Record(b"before", b"k"))
    subscription = await log.subscribe("g", "t", "latest")
    await log.append("t", Record(b"after", b"k"))
    assert [delivered.record.value for delivered in await read(subscription, 1)] == [b"after"]


async def test_a_paused_partition_waits_and_loses_nothing(log: Log) -> None:
    partition, _ = await log.append("t", Record(b"x", b"k"))
    subscription = await log.subscribe("g", "t", "earliest")
    assert await subscription.poll({partition}) == []
    subscription.wake()
    assert [delivered.record.value for delivered in await subscription.poll(frozenset())] == [b"x"]


async def test_a_topic_that_was_never_made_is_refused(log: Log) -> None:
    with pytest.raises(UnknownTopic):
        await log.append("nowhere", Record(b"x", None))


async def test_the_size_counts_what_was_appended(log: Log) -> None:
    for _ in range(3):
        await log.append("t", Record(b"x", None))
    assert await log.size("t") == 3
