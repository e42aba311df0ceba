"""What the eventing side needs of a log, in Kafka's words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal, Protocol


class LogUnavailable(Exception):
    """The log does not answer; what was appended may or may not be in it."""


class UnknownTopic(Exception):
    """There is no such topic."""


@dataclass(frozen=True)
class Record:
    """What is appended. Records of one key go to one partition, in the order of their appends."""

    value: bytes
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Delivered:
    """A record as it is read: where it lies, and since when."""

    record: Record
    topic: str
    partition: int
    offset: int
    timestamp: dt.datetime


@dataclass(frozen=True)
class Topic:
    """A topic: how many partitions, and for how long records are kept (None: for ever)."""

    name: str
    partitions: int
    retention: dt.timedelta | None = None


@dataclass(frozen=True)
class Lag:
    """How far a group is behind on a topic: records not committed yet."""

    group: str
    topic: str
    records: int


class Subscription(Protocol):
    """One member of a group, reading the partitions that are its share."""

    async def poll(self, paused: Set[int]) -> Sequence[Delivered]:
        """Waits for an append or wake(), then answers the next records of the partitions that are not paused, each
        partition's in order; possibly none."""

    def wake(self) -> None:
        """Makes a waiting poll look again, because what is paused has changed."""

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Stores, for each partition, the offset that the group reads next. It never goes back."""

    async def close(self) -> None:
        """Leaves the group."""


class Log(Protocol):
    """A durable log."""

    async def create(self, topic: Topic) -> None:
        """Makes the topic where it does not exist. Partitions of an existing one are never reduced."""

    async def append(self, topic: str, record: Record) -> tuple[int, int]:
        """Appends for good and answers partition and offset. Raises UnknownTopic, LogUnavailable."""

    async def subscribe(self, group: str, topic: str, initial_offset: Literal["earliest", "latest"]) -> Subscription:
        """Joins a group; a group without offsets starts where initial_offset says."""

    async def lag(self, group: str, topic: str) -> Lag:
        """How far the group is behind."""

    async def size(self, topic: str) -> int:
        """How many records were ever appended to the topic."""

    async def close(self) -> None:
        """Ends the connections."""
