"""The durable log in PostgreSQL, for one machine.

A partition's row holds its next offset, and appending locks that row until the commit: so offsets have no holes, and a
reader that has seen offset n has seen everything before it. Readers sleep until LISTEN/NOTIFY wakes them.

A group's members share a topic's partitions. A member lives as long as the session that holds its advisory lock: who is
killed is missed at once. Each takes what is free up to its fair share, and gives up what it has beyond it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import asyncpg

from functions.runtime.batch import Batcher
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

APPEND_BATCH_MAX: Final = 500
APPEND_WAITING_MAX: Final = 20_000
FETCH_RECORDS_MAX: Final = 100
"""Records of one partition in one fetch."""
RECONNECT_SECONDS: Final = 0.2
COMMAND_TIMEOUT_SECONDS: Final = 30.0
APPENDED: Final = "appended"
MEMBERS: Final = "members"
MEMBERS_CHECK_SECONDS: Final = 2.0
"""How soon the end of another member is noticed; who is alone in its group looks after nobody."""
RETENTION_CHECK_SECONDS: Final = 60.0

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
alter table group_offset add column if not exists owner bigint;
create sequence if not exists member_id;
create table if not exists member (
    id bigint primary key,
    "group" text not null,
    topic text not null references topic
);
"""

_LOCK_GROUP: Final = "select pg_advisory_xact_lock(1, hashtext($1 || ' ' || $2))"

_END_DEAD: Final = """
delete from member m where "group" = $1 and topic = $2 and not exists (
    select from pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted
        and database = (select oid from pg_database where datname = current_database())
        and (classid::bigint << 32) | objid::bigint = m.id
)
"""

_TAKE: Final = """
with free as (
    select partition from group_offset
    where "group" = $1 and topic = $2
        and (owner is null or owner not in (select id from member where "group" = $1 and topic = $2))
    order by partition limit $4
)
update group_offset g set owner = $3 from free where "group" = $1 and topic = $2 and g.partition = free.partition
returning g.partition, g.next_offset
"""

_GIVE: Final = """
with given as (
    update group_offset set owner = null
    where "group" = $1 and topic = $2 and owner = $3 and partition = any($4::integer[])
)
select pg_notify('members', $1 || ' ' || $2)
"""

_REWIND: Final = """
insert into group_offset ("group", topic, partition, next_offset)
select $1, p.topic, p.partition, case
    when $4::timestamptz is null then least(greatest($3, 0), p.next_offset)
    else coalesce((
        select min("offset") from record r
        where r.topic = p.topic and r.partition = p.partition and r.timestamp >= $4
    ), p.next_offset) end
from partition p where p.topic = $2
on conflict ("group", topic, partition) do update set next_offset = excluded.next_offset
"""

_EXPIRE: Final = """
delete from record r using topic t
where t.name = r.topic and t.retention is not null and r.timestamp < clock_timestamp() - t.retention
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
update group_offset g set next_offset = greatest(g.next_offset, done.next_offset)
from unnest($3::integer[], $4::bigint[]) as done(partition, next_offset)
where g."group" = $1 and g.topic = $2 and g.partition = done.partition and g.owner = $5
"""

_LAG: Final = """
select coalesce(sum(p.next_offset - greatest(
    coalesce(g.next_offset, 0),
    coalesce((select min("offset") from record r where r.topic = p.topic and r.partition = p.partition), p.next_offset)
)), 0)
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
        asyncpg.InternalClientError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
    ) as error:
        raise LogUnavailable(f"the log does not answer: {error}") from error


class EmbeddedLog:
    """A log in a PostgreSQL database of its own. Open it with open(), in as many processes as need it."""

    def __init__(self, pool: asyncpg.Pool[Any], url: str, retention_check_seconds: float) -> None:
        self._pool = pool
        self._url = url
        self._partitions: dict[str, int] = {}
        self._appenders: dict[str, Batcher[Record, tuple[int, int]]] = {}
        self._subscriptions: set[EmbeddedSubscription] = set()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._expire(retention_check_seconds))]
        self._keyless = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, retention_check_seconds: float = RETENTION_CHECK_SECONDS
    ) -> AsyncIterator[EmbeddedLog]:
        """The log in the database at this address, made where it is not there yet."""
        async with asyncpg.create_pool(
            url, min_size=1, max_size=6, command_timeout=COMMAND_TIMEOUT_SECONDS, init=_init_connection
        ) as pool:
            await pool.execute(SCHEMA)
            log = cls(pool, url, retention_check_seconds)
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
        self, group: str, topic: str, initial_offset: Literal["earliest", "latest"], forget: Forget = nothing_held
    ) -> EmbeddedSubscription:
        """Joins the group; what its members read is shared out anew."""
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
            session = await asyncpg.connect(self._url, command_timeout=COMMAND_TIMEOUT_SECONDS)
            try:
                # It holds its lock before it is seen, so that nobody takes it for dead.
                member = await session.fetchval("select nextval('member_id')")
                await session.execute("select pg_advisory_lock($1)", member)
                await session.execute("insert into member values ($1, $2, $3)", member, group, topic)
                await session.execute("select pg_notify('members', $1)", f"{group} {topic}")
            except BaseException:
                session.terminate()
                raise
        subscription = EmbeddedSubscription(self, session, member, group, topic, forget)
        self._subscriptions.add(subscription)
        return subscription

    async def rewind(self, group: str, topic: str, start: int | dt.datetime) -> int:
        """Sets the group's offsets. Raises GroupActive while it has members."""
        offset, moment = (start, None) if isinstance(start, int) else (0, start)
        await self._partition_count(topic)
        with _away_is_unavailable():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK_GROUP, group, topic)
                await connection.execute(_END_DEAD, group, topic)
                query = 'select exists (select from member where "group" = $1 and topic = $2)'
                if await connection.fetchval(query, group, topic):
                    raise GroupActive(f"the group {group} is being read; stop its members first")
                await connection.execute(_REWIND, group, topic, offset, moment)
        return (await self.lag(group, topic)).records

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
        """Leaves all groups and stops listening."""
        for subscription in tuple(self._subscriptions):
            await subscription.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

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

    async def _commit(self, group: str, topic: str, offsets: Mapping[int, int], member: int) -> None:
        with _away_is_unavailable():
            await self._pool.execute(_COMMIT, group, topic, list(offsets.keys()), list(offsets.values()), member)

    async def _share(self, group: str, topic: str, member: int, owned: Set[int]) -> tuple[dict[int, int], int, int]:
        """Takes free partitions up to the member's fair share.

        Answers what was taken, with offsets; how many of its own it has too many; and how many members there are.
        """
        count = await self._partition_count(topic)
        with _away_is_unavailable():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK_GROUP, group, topic)
                await connection.execute(_END_DEAD, group, topic)
                query = 'select id from member where "group" = $1 and topic = $2 order by id'
                members = [row["id"] for row in await connection.fetch(query, group, topic)]
                if member not in members:
                    raise LogUnavailable("the session of this member has ended")
                each, rest = divmod(count, len(members))
                missing = each + (members.index(member) < rest) - len(owned)
                rows = await connection.fetch(_TAKE, group, topic, member, max(0, missing))
        return {row["partition"]: row["next_offset"] for row in rows}, max(0, -missing), len(members)

    async def _give(self, group: str, topic: str, member: int, partitions: Set[int]) -> None:
        with _away_is_unavailable():
            await self._pool.execute(_GIVE, group, topic, member, list(partitions))

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
            await connection.add_listener(APPENDED, self._appended)
            await connection.add_listener(MEMBERS, self._members_changed)
            self._appended(None, 0, APPENDED, None)
            await lost.wait()
        finally:
            connection.terminate()

    def _appended(self, connection: object, pid: int, channel: str, topic: object) -> None:
        for subscription in self._subscriptions:
            if topic is None or topic == subscription.topic:
                subscription.wake()

    def _members_changed(self, connection: object, pid: int, channel: str, group_and_topic: object) -> None:
        for subscription in self._subscriptions:
            if group_and_topic == f"{subscription.group} {subscription.topic}":
                subscription.share_again()

    async def _expire(self, interval_seconds: float) -> None:
        """Removes what its topic keeps no longer."""
        while True:
            await asyncio.sleep(interval_seconds)
            with contextlib.suppress(LogUnavailable), _away_is_unavailable():
                await self._pool.execute(_EXPIRE)


async def _init_connection(connection: asyncpg.Connection[Any]) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


class EmbeddedSubscription:
    """A member of a group. Its session lives as long as it does."""

    def __init__(
        self, log: EmbeddedLog, session: asyncpg.Connection[Any], member: int, group: str, topic: str, forget: Forget
    ) -> None:
        self.topic = topic
        self.group = group
        self._log = log
        self._session = session
        self._member = member
        self._forget = forget
        self._positions: dict[int, int] = {}
        self._members = 1
        self._share_due = True
        self._wakeup = asyncio.Event()
        self._wakeup.set()
        session.add_termination_listener(lambda _: self.share_again())

    async def poll(self, paused: Set[int]) -> Sequence[Delivered]:
        """The next records; sleeps while there are none."""
        try:
            async with asyncio.timeout(MEMBERS_CHECK_SECONDS if self._members > 1 else None):
                await self._wakeup.wait()
        except TimeoutError:
            self._share_due = True
        # Cleared before the fetch: what is appended during it sets the event again.
        self._wakeup.clear()
        if self._share_due:
            await self._share()
        wanted = {partition: position for partition, position in self._positions.items() if partition not in paused}
        records = await self._log._fetch(self.topic, wanted) if wanted else []
        for delivered in records:
            self._positions[delivered.partition] = delivered.offset + 1
        if records:
            self._wakeup.set()
        return records

    def wake(self) -> None:
        """Makes a waiting poll look again."""
        self._wakeup.set()

    def share_again(self) -> None:
        """Makes the next poll look at who is in the group."""
        self._share_due = True
        self._wakeup.set()

    async def _share(self) -> None:
        self._share_due = False
        taken, too_many, self._members = await self._log._share(
            self.group, self.topic, self._member, self._positions.keys()
        )
        self._positions |= taken
        if too_many:
            surplus = set(sorted(self._positions)[-too_many:])
            for partition in surplus:
                del self._positions[partition]
            # First this member lets go, then another may take.
            self._forget(surplus)
            await self._log._give(self.group, self.topic, self._member, surplus)

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Stores the offsets that the group reads next, of the partitions that are this member's."""
        await self._log._commit(self.group, self.topic, offsets, self._member)

    async def close(self) -> None:
        """Leaves the group, so that others take over at once."""
        self._log._forget(self)
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self._session.execute(
                "with gone as (delete from member where id = $1) select pg_notify('members', $2)",
                self._member,
                f"{self.group} {self.topic}",
            )
            await self._session.close(timeout=1)
        self._session.terminate()
