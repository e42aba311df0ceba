"""What the eventing side needs of a log, in Kafka's words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal, Protocol


class LogUnavailable(Exception):
    """The log does not answer; what was appended may or may not be in it."""


class UnknownTopic(Exception):
    """There is no such topic."""


class GroupActive(Exception):
    """The group's members still read; only a group at rest can be rewound."""


Forget = Callable[[Set[int]], None]
"""Told, in the event loop, which partitions are no longer this member's: what it holds of them is another's now."""


def nothing_held(partitions: Set[int]) -> None:
    """The Forget of a reader that keeps nothing between two polls."""


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
    """A topic: how many partitions, and for how long records are kept (None: for ever).

    replicas and config (Kafka's own words) mean something on a cluster only.
    """

    name: str
    partitions: int
    retention: dt.timedelta | None = None
    replicas: int = 1
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lag:
    """How far a group is behind on a topic: records that are kept and not committed yet."""

    group: str
    topic: str
    records: int


class Subscription(Protocol):
    """One member of a group, reading the partitions that are its share.

    When members join, leave or vanish, the shares change: what is taken away is told to the member's forget, and what
    is given is read from the group's committed offsets. So a record that two members had comes twice, and none is lost.
    """

    async def poll(self, paused: Set[int]) -> Sequence[Delivered]:
        """Waits for an append or wake(), then answers the next records of the partitions that are not paused, each
        partition's in order; possibly none."""

    def wake(self) -> None:
        """Makes a waiting poll look again, because what is paused has changed."""

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Stores, for each partition, the offset that the group reads next. It never goes back.

        Partitions that are another member's by now are left out.
        """

    async def close(self) -> None:
        """Leaves the group."""


class Log(Protocol):
    """A durable log."""

    async def create(self, topic: Topic) -> None:
        """Makes the topic where it does not exist. Partitions of an existing one are never reduced."""

    async def append(self, topic: str, record: Record) -> tuple[int, int]:
        """Appends for good and answers partition and offset. Raises UnknownTopic, LogUnavailable."""

    async def subscribe(
        self, group: str, topic: str, initial_offset: Literal["earliest", "latest"], forget: Forget = nothing_held
    ) -> Subscription:
        """Joins a group; a group without offsets starts where initial_offset says."""

    async def rewind(self, group: str, topic: str, start: int | dt.datetime) -> int:
        """Lets the group, on its next subscription, read from this offset of each partition, or from the first record
        that was appended at that moment or later. Answers how many records it then has before it.

        Raises GroupActive while it has members.
        """

    async def lag(self, group: str, topic: str) -> Lag:
        """How far the group is behind."""

    async def size(self, topic: str) -> int:
        """How many records were ever appended to the topic."""

    async def close(self) -> None:
        """Ends the connections."""
