"""The durable log in PostgreSQL, for one machine.

A partition's row holds its next offset, and appending locks that row until the commit: so offsets have no holes, and a
reader that has seen offset n has seen everything before it. Readers sleep until LISTEN/NOTIFY wakes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import asyncpg

from functions.runtime.batch import Batcher
from local.log.port import Delivered, Lag, LogUnavailable, Record, Topic, UnknownTopic

APPEND_BATCH_MAX: Final = 500
APPEND_WAITING_MAX: Final = 20_000
FETCH_RECORDS_MAX: Final = 100
"""Records of one partition in one fetch."""
RECONNECT_SECONDS: Final = 0.2
COMMAND_TIMEOUT_SECONDS: Final = 30.0
CHANNEL: Final = "appended"

SCHEMA: Final = """
create table if not exists topic (
    name text primary key,
    retention interval
);
create table if not exists partition (
    topic text not null references topic,
    partition integer not null,
    next_offset bigint not null default 0,
    primary key (topic, partition)
);
create table if not exists record (
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    timestamp timestamptz not null default clock_timestamp(),
    key bytea,
    value bytea not null,
    headers jsonb not null,
    primary key (topic, partition, "offset"),
    foreign key (topic, partition) references partition
);
create table if not exists group_offset (
    "group" text not null,
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key ("group", topic, partition),
    foreign key (topic, partition) references partition
);
"""

_APPEND: Final = """
with incoming as (
    select * from unnest($2::integer[], $3::bytea[], $4::bytea[], $5::text[])
        with ordinality as r(partition, key, value, headers, n)
), locked as (
    select partition, next_offset from partition
    where topic = $1 and partition in (select partition from incoming)
    order by partition for update
), numbered as (
    select n, partition, key, value, headers,
        next_offset + row_number() over (partition by partition order by n) - 1 as "offset"
    from incoming join locked using (partition)
), counted as (
    update partition p set next_offset = m.next_offset
    from (select partition, max("offset") + 1 as next_offset from numbered group by partition) m
    where p.topic = $1 and p.partition = m.partition
), stored as (
    insert into record (topic, partition, "offset", key, value, headers)
    select $1, partition, "offset", key, value, headers::jsonb from numbered
)
select partition, "offset", (select pg_notify('appended', $1)) from numbered order by n
"""

_FETCH: Final = """
select r.partition, r."offset", r.timestamp, r.key, r.value, r.headers
from unnest($2::integer[], $3::bigint[]) as wanted(partition, next_offset)
cross join lateral (
    select * from record
    where topic = $1 and partition = wanted.partition and "offset" >= wanted.next_offset
    order by "offset" limit $4
) r
order by r.partition, r."offset"
"""

_COMMIT: Final = """
insert into group_offset ("group", topic, partition, next_offset)
select $1, $2, partition, next_offset from unnest($3::integer[], $4::bigint[]) as done(partition, next_offset)
on conflict ("group", topic, partition)
do update set next_offset = greatest(group_offset.next_offset, excluded.next_offset)
"""

_LAG: Final = """
select coalesce(sum(p.next_offset - coalesce(g.next_offset, 0)), 0)
from partition p left join group_offset g on g.topic = p.topic and g.partition = p.partition and g."group" = $1
where p.topic = $2
"""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that records of this key go to."""
    return zlib.crc32(key) % partitions


@contextlib.contextmanager
def _away_is_unavailable() -> Any:
    try:
        yield
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.OperatorInterventionError,
    ) as error:
        raise LogUnavailable(f"the log does not answer: {error}") from error


class EmbeddedLog:
    """A log in a PostgreSQL database of its own. Open it with open(); it serves one process."""

    def __init__(self, pool: asyncpg.Pool[Any], url: str) -> None:
        self._pool = pool
        self._url = url
        self._partitions: dict[str, int] = {}
        self._appenders: dict[str, Batcher[Record, tuple[int, int]]] = {}
        self._subscriptions: set[EmbeddedSubscription] = set()
        self._listener = asyncio.create_task(self._listen())
        self._keyless = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[EmbeddedLog]:
        """The log in the database at this address, made where it is not there yet."""
        async with asyncpg.create_pool(
            url, min_size=1, max_size=6, command_timeout=COMMAND_TIMEOUT_SECONDS, init=_init_connection
        ) as pool:
            await pool.execute(SCHEMA)
            log = cls(pool, url)
            try:
                yield log
            finally:
                await log.close()

    async def create(self, topic: Topic) -> None:
        """Makes the topic, or adds partitions to it."""
        with _away_is_unavailable():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "insert into topic values ($1, $2) on conflict (name) do update set retention = excluded.retention",
                    topic.name,
                    topic.retention,
                )
                await connection.execute(
                    "insert into partition (topic, partition)"
                    " select $1, generate_series(0, $2 - 1) on conflict do nothing",
                    topic.name,
                    topic.partitions,
                )

    async def append(self, topic: str, record: Record) -> tuple[int, int]:
        """Appends with whatever else is being appended, in one durable commit."""
        appender = self._appenders.get(topic)
        if appender is None:
            await self._partition_count(topic)
            appender = self._appenders.setdefault(
                topic,
                Batcher(
                    lambda records: self._append(topic, records),
                    batch_max=APPEND_BATCH_MAX,
                    waiting_max=APPEND_WAITING_MAX,
                ),
            )
        return await appender.submit(record)

    async def _append(self, topic: str, records: Sequence[Record]) -> Sequence[tuple[int, int]]:
        count = await self._partition_count(topic)
        partitions = []
        for record in records:
            if record.key is None:
                self._keyless += 1
            partitions.append(self._keyless % count if record.key is None else partition_of(record.key, count))
        with _away_is_unavailable():
            rows = await self._pool.fetch(
                _APPEND,
                topic,
                partitions,
                [record.key for record in records],
                [record.value for record in records],
                [json.dumps([(name, value.decode("latin-1")) for name, value in record.headers]) for record in records],
            )
        return [(row["partition"], row["offset"]) for row in rows]

    async def _partition_count(self, topic: str) -> int:
        if topic not in self._partitions:
            with _away_is_unavailable():
                count = await self._pool.fetchval("select count(*) from partition where topic = $1", topic)
            if not count:
                raise UnknownTopic(f"there is no topic {topic}")
            self._partitions[topic] = count
        return self._partitions[topic]

    async def subscribe(
        self, group: str, topic: str, initial_offset: Literal["earliest", "latest"]
    ) -> EmbeddedSubscription:
        """Reads all partitions for the group: on one machine, one process reads the log."""
        await self._partition_count(topic)
        with _away_is_unavailable():
            await self._pool.execute(
                'insert into group_offset ("group", topic, partition, next_offset)'
                " select $1, topic, partition, case when $3 then next_offset else 0 end"
                " from partition where topic = $2 on conflict do nothing",
                group,
                topic,
                initial_offset == "latest",
            )
            rows = await self._pool.fetch(
                'select partition, next_offset from group_offset where "group" = $1 and topic = $2', group, topic
            )
        subscription = EmbeddedSubscription(self, group, topic, {row["partition"]: row["next_offset"] for row in rows})
        self._subscriptions.add(subscription)
        return subscription

    async def lag(self, group: str, topic: str) -> Lag:
        """How far the group is behind."""
        with _away_is_unavailable():
            return Lag(group, topic, int(await self._pool.fetchval(_LAG, group, topic)))

    async def size(self, topic: str) -> int:
        """How many records were ever appended to the topic."""
        with _away_is_unavailable():
            query = "select coalesce(sum(next_offset), 0) from partition where topic = $1"
            return int(await self._pool.fetchval(query, topic))

    async def close(self) -> None:
        """Stops listening."""
        self._listener.cancel()
        await asyncio.wait([self._listener])

    async def _fetch(self, topic: str, positions: Mapping[int, int]) -> list[Delivered]:
        with _away_is_unavailable():
            rows = await self._pool.fetch(
                _FETCH, topic, list(positions.keys()), list(positions.values()), FETCH_RECORDS_MAX
            )
        return [
            Delivered(
                Record(
                    row["value"], row["key"], tuple((name, text.encode("latin-1")) for name, text in row["headers"])
                ),
                topic,
                row["partition"],
                row["offset"],
                row["timestamp"],
            )
            for row in rows
        ]

    async def _commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        with _away_is_unavailable():
            await self._pool.execute(_COMMIT, group, topic, list(offsets.keys()), list(offsets.values()))

    def _forget(self, subscription: EmbeddedSubscription) -> None:
        self._subscriptions.discard(subscription)

    async def _listen(self) -> None:
        """Wakes readers on each append, and once after each reconnection: notes may have been missed."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._listen_once()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        lost = asyncio.Event()
        connection = await asyncpg.connect(self._url)
        connection.add_termination_listener(lambda _: lost.set())
        try:
            await connection.add_listener(CHANNEL, self._notified)
            self._notified(None, 0, CHANNEL, None)
            await lost.wait()
        finally:
            connection.terminate()

    def _notified(self, connection: object, pid: int, channel: str, topic: object) -> None:
        for subscription in self._subscriptions:
            if topic is None or topic == subscription.topic:
                subscription.wake()


async def _init_connection(connection: asyncpg.Connection[Any]) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


class EmbeddedSubscription:
    """A group's reader of one topic."""

    def __init__(self, log: EmbeddedLog, group: str, topic: str, positions: dict[int, int]) -> None:
        self.topic = topic
        self._log = log
        self._group = group
        self._positions = positions
        self._appended = asyncio.Event()
        self._appended.set()

    async def poll(self, paused: Set[int]) -> Sequence[Delivered]:
        """The next records; sleeps while there are none."""
        await self._appended.wait()
        # Cleared before the fetch: what is appended during it sets the event again.
        self._appended.clear()
        wanted = {partition: position for partition, position in self._positions.items() if partition not in paused}
        records = await self._log._fetch(self.topic, wanted) if wanted else []
        for delivered in records:
            self._positions[delivered.partition] = delivered.offset + 1
        if records:
            self._appended.set()
        return records

    def wake(self) -> None:
        """Makes a waiting poll look again."""
        self._appended.set()

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Stores the offsets that the group reads next."""
        await self._log._commit(self._group, self.topic, offsets)

    async def close(self) -> None:
        """Stops being woken."""
        self._log._forget(self)
