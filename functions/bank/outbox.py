"""The outbox: transactions that are still to be announced, published to the sink in order per card.

A payment writes its outbox row in its own commit. The bank publishes right after, woken by the commit; the relay
(functions/bank/relay.py) publishes what a crash or a sink that was away has left. Any number of them may run at once.

Each takes the shards that nobody else is publishing, by advisory locks of its session: they are tried and skipped as
SKIP LOCKED does, end with the process that holds them, and hold no row and no snapshot while the sink is waited for.
They only spare duplicates. The order does not hang on them: an event is sent only after the one before it on the same
card was taken by the sink, whoever sent that, so for each card the first copies arrive in order; and for each card
transaction numbers ascend in the order of commits, because a number is drawn while the card is locked.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Final

import asyncpg
from pydantic import ValidationError

from functions.bank import metrics
from functions.bank.books import OUTBOX_SHARDS, TRANSACTION_SELECT, transaction_of
from functions.bank.database import Connection, Database
from functions.bank.ledger import Transaction
from functions.domain.error import Invalid, Unavailable
from functions.domain.event import BANK_SOURCE, CATALOGUE, TYPE_OF_STATUS, EventCard, event_id
from functions.domain.payment import TransactionKind, TransactionStatus
from functions.runtime import trace
from functions.runtime.event import Event, announce
from functions.runtime.sink import Sink

_log = logging.getLogger(__name__)

PAGE_ROWS_MAX: Final = 500
CARDS_AT_ONCE_MAX: Final = 8
SENT_KEPT_FOR: Final = dt.timedelta(days=1)
"""Sent rows are kept for a day, so that an operator can see what was announced when, and announce it again."""

PRUNED_ROWS_MAX: Final = 10_000
RETRY_SECONDS_MIN: Final = 0.1
RETRY_SECONDS_MAX: Final = 5.0
FINISH_SECONDS_MAX: Final = 3.0
MEASURE_SECONDS: Final = 5.0

_LOCK_CLASS: Final = 0x626F7578
"""The first half of the advisory locks' keys; it tells them from locks of others in the same database."""

_LOCK_SHARDS: Final = """
    select shard from generate_series(0, $2 - 1) shard where pg_try_advisory_lock($1, shard)
"""
_UNLOCK_SHARDS: Final = "select pg_advisory_unlock($1, shard) from unnest($2::integer[]) shard"

_UNSENT: Final = f"""
    select t.*, o.traceparent from outbox o join ({TRANSACTION_SELECT}) t on t.number = o.transaction_number
    where o.sent_at is null and o.shard = any($1::integer[]) and o.transaction_number > $2
    order by o.transaction_number limit $3
"""  # noqa: S608
_IS_LEFT: Final = "select exists (select from outbox where sent_at is null and shard = any($1::integer[]))"
_SENT: Final = "update outbox set sent_at = now() where transaction_number = any($1::bigint[]) and sent_at is null"
_PRUNE: Final = """
    delete from outbox where transaction_number = any (array(
        select transaction_number from outbox where created_at < $1 and sent_at is not null limit $2
    ))
"""
_OLDEST: Final = """
    select extract(epoch from now() - created_at)::float8 from outbox where sent_at is null
    order by transaction_number limit 1
"""


class Published(Enum):
    """How a round of publishing ended."""

    ALL = auto()
    """Nothing is left, but for what others are publishing."""

    SINK_AWAY = auto()
    """The sink does not take events now."""

    SOME_REFUSED = auto()
    """The sink, or the catalogue, refuses some events for good: they and what follows on their cards stay."""


class Outbox:
    """Publishes what the outbox holds."""

    def __init__(self, database: Database, sink: Sink) -> None:
        self._database = database
        self._sink = sink
        self._woken = asyncio.Event()
        self._woken.set()

    def wake(self) -> None:
        """Says that a commit left something to announce."""
        self._woken.set()

    async def run(self) -> None:
        """Publishes whenever woken, for as long as the task lives; a sink that is away is tried again and again."""
        delay_seconds = RETRY_SECONDS_MIN
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                published = await self.publish()
            except Unavailable:
                published = Published.SINK_AWAY
            except Exception:
                _log.exception("publishing failed")
                published = Published.SINK_AWAY
            if published is Published.SINK_AWAY:
                self._woken.set()
                await asyncio.sleep(delay_seconds)
                delay_seconds = min(2 * delay_seconds, RETRY_SECONDS_MAX)
            else:
                delay_seconds = RETRY_SECONDS_MIN

    async def finish(self) -> None:
        """Publishes what the last calls have left, for a moment; what then still is there is for the relay."""
        try:
            async with asyncio.timeout(FINISH_SECONDS_MAX):
                await self.publish()
        except (TimeoutError, Unavailable) as error:
            _log.warning("events are left to the relay: %s", error)

    async def publish(self) -> Published:
        """Publishes what nobody else is publishing, until nothing of it is left. Raises Unavailable for the database.

        Who finds a shard taken leaves it to its holder: the holder looks once more after it let go, so a row that was
        committed before its lock was tried in vain is not overlooked.
        """
        async with self._database.connection() as connection:
            while True:
                async with _shards(connection) as shards:
                    published = await self._publish(connection, shards)
                if published is not Published.ALL or not await connection.fetchval(_IS_LEFT, shards):
                    return published

    async def prune(self, now: dt.datetime) -> None:
        """Deletes rows that were sent and are older than SENT_KEPT_FOR. The transactions themselves stay for good."""
        async with self._database.connection() as connection:
            await connection.execute(_PRUNE, now - SENT_KEPT_FOR, PRUNED_ROWS_MAX)

    async def measure(self) -> None:
        """Sets the metric outbox_oldest_seconds."""
        async with self._database.connection() as connection:
            metrics.OUTBOX_OLDEST_SECONDS.set(await connection.fetchval(_OLDEST) or 0)

    async def keep_measuring(self) -> None:
        """Keeps the metric up to date for as long as the task lives; while the database is away, as it was."""
        while True:
            try:
                await self.measure()
            except Unavailable as error:
                _log.warning("the outbox was not measured: %s", error)
            await asyncio.sleep(MEASURE_SECONDS)

    async def _publish(self, connection: Connection, shards: Sequence[int]) -> Published:
        published, last_number = Published.ALL, 0
        stuck: set[str] = set()
        while rows := await connection.fetch(_UNSENT, shards, last_number, PAGE_ROWS_MAX):
            last_number = rows[-1]["number"]
            page = _Page(self._sink, stuck)
            try:
                await page.send(rows)
            finally:
                await connection.execute(_SENT, page.sent)
            if page.away:
                return Published.SINK_AWAY
            if stuck:
                published = Published.SOME_REFUSED
        return published


@asynccontextmanager
async def _shards(connection: Connection) -> AsyncIterator[list[int]]:
    """The shards that nobody else is publishing, for as long as the block runs."""
    shards = [row["shard"] for row in await connection.fetch(_LOCK_SHARDS, _LOCK_CLASS, OUTBOX_SHARDS)]
    try:
        yield shards
    finally:
        try:
            await connection.execute(_UNLOCK_SHARDS, _LOCK_CLASS, shards)
        except BaseException:
            connection.terminate()  # The session's end lets go as well, and nothing else is sure to.
            raise


class _Page:
    """One page of events on their way: cards beside each other, the events of one card after each other.

    `sent` has the numbers that the sink took. `stuck` has the cards of which it refused an event; nothing later of
    theirs is sent. `away` says that the sink was away, and that the rest was not tried.
    """

    def __init__(self, sink: Sink, stuck: set[str]) -> None:
        self._sink = sink
        self._stuck = stuck
        self._slots = asyncio.Semaphore(CARDS_AT_ONCE_MAX)
        self.sent: list[int] = []
        self.away = False

    async def send(self, rows: Sequence[asyncpg.Record]) -> None:
        cards: dict[str, list[asyncpg.Record]] = {}
        for row in rows:
            cards.setdefault(_partition_key(row), []).append(row)
        async with asyncio.TaskGroup() as group:
            for partition_key, card_rows in cards.items():
                if partition_key not in self._stuck:
                    group.create_task(self._send_card(partition_key, card_rows))

    async def _send_card(self, partition_key: str, rows: Sequence[asyncpg.Record]) -> None:
        async with self._slots:
            for row in rows:
                if self.away:
                    return
                try:
                    trace.enter(row["traceparent"])
                    await self._sink.send(event_of(transaction_of(row), partition_key))
                except Unavailable as error:
                    if not self.away:
                        _log.warning("events wait in the outbox: %s", error)
                    self.away = True
                    metrics.OUTBOX_FAILURES.labels("away").inc()
                    return
                except (Invalid, ValidationError) as error:
                    self._stuck.add(partition_key)
                    metrics.OUTBOX_FAILURES.labels("refused").inc()
                    _log.error("transaction %s cannot be announced: %s", row["id"], type(error).__name__)
                    return
                self.sent.append(row["number"])
                metrics.OUTBOX_SENT.inc()


def _partition_key(row: asyncpg.Record) -> str:
    return str(row["token"] or row["id"])


def event_of(transaction: Transaction, partition_key: str) -> Event:
    """The event that announces the transaction: the same whenever it is made."""
    if transaction.kind is TransactionKind.REFUND:
        status = TransactionStatus.REFUNDED
    elif transaction.decline_code is not None:
        status = TransactionStatus.DECLINED
    else:
        status = TransactionStatus.APPROVED
    event_type = TYPE_OF_STATUS[status]
    card = transaction.card
    data = CATALOGUE[event_type](
        transaction_id=transaction.id,
        order_id=transaction.order_id,
        status=status,
        amount_minor=transaction.amount_minor,
        currency=transaction.currency,
        store=transaction.store,
        description=transaction.description,
        card=EventCard(
            token=card.token if card else None, brand=card.brand if card else None, last4=card.last4 if card else None
        ),
        decline_code=transaction.decline_code,
        payment_date=transaction.created_at,
        refund_of=transaction.refund_of,
    )
    return announce(event_type, BANK_SOURCE, event_id(event_type, transaction.id), data, partition_key=partition_key)
