"""Statement entries: one for each payment and refund of a card, in the order in which they were committed."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ARRAY, BigInteger, DateTime, Index, Text, Uuid, any_, literal, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from functions.domain.error import CodebankError, Invalid
from functions.runtime.batch import Batcher
from functions.runtime.database import Database

BATCH_ENTRIES_MAX: Final = 500
WAITING_ENTRIES_MAX: Final = 2000

# A value that a column cannot hold, or that a constraint refuses (PostgreSQL, appendix A): so it will ever be.
REFUSED_STATES: Final = ("22", "23")


class StatementCard(SQLModel, table=True):
    """A card that has entries, and the position of the last one."""

    __tablename__ = "statement_cards"

    card_token: str = Field(primary_key=True, sa_type=Text)
    last_position: int = Field(sa_type=BigInteger)


class Entry(SQLModel, table=True):
    """One line of a card's statement. Amounts are positive, in minor units; the kind tells which way they went.

    refund_of is the payment that a refund gives back.
    """

    __tablename__ = "statement_entries"
    __table_args__ = (Index("statement_entries_by_date", "card_token", "payment_date"),)

    card_token: str = Field(primary_key=True, sa_type=Text, foreign_key="statement_cards.card_token")
    position: int = Field(default=0, primary_key=True, sa_type=BigInteger)
    id: uuid.UUID = Field(unique=True)
    kind: str = Field(sa_type=Text)
    transaction_id: str = Field(sa_type=Text)
    order_id: str | None = Field(sa_type=Text)
    refund_of: str | None = Field(sa_type=Text)
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    store: str = Field(sa_type=Text)
    description: str = Field(sa_type=Text)
    payment_date: dt.datetime = Field(sa_type=DateTime(timezone=True))


@dataclass(frozen=True)
class Bounds:
    """Which entries are wanted: behind one position and up to another, paid from one moment and before another."""

    after: int
    up_to: int
    paid_from: dt.datetime | None
    paid_before: dt.datetime | None


class Entries:
    """The entries in the statement's database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher: Batcher[Entry, None] = Batcher(
            self._run, batch_max=BATCH_ENTRIES_MAX, waiting_max=WAITING_ENTRIES_MAX
        )

    async def post(self, entry: Entry) -> None:
        """Adds the entry unless one of its id is there. Entries that come at the same time share a commit.

        Raises Invalid where the entry cannot be kept as it is, Busy, Unavailable.
        """
        await self._batcher.submit(entry)

    async def last_position(self, card_token: str) -> int:
        """The position of the card's last entry; 0 where it has none."""
        query = select(StatementCard.last_position).where(StatementCard.card_token == card_token)
        async with self._database.transaction() as session:
            return (await session.exec(query)).one_or_none() or 0

    async def page(self, card_token: str, bounds: Bounds, *, limit: int) -> Sequence[Entry]:
        """The card's entries within the bounds, in the order of their positions. Empty bounds are not looked up."""
        if bounds.after >= bounds.up_to:
            return ()
        query = select(Entry).where(
            Entry.card_token == card_token, col(Entry.position) > bounds.after, col(Entry.position) <= bounds.up_to
        )
        if bounds.paid_from is not None:
            query = query.where(col(Entry.payment_date) >= bounds.paid_from)
        if bounds.paid_before is not None:
            query = query.where(col(Entry.payment_date) < bounds.paid_before)
        async with self._database.transaction() as session:
            return (await session.exec(query.order_by(col(Entry.position)).limit(limit))).all()

    async def _run(self, entries: Sequence[Entry]) -> Sequence[BaseException | None]:
        """Adds all in one commit. Where the database refuses one of them, each is tried by itself."""
        try:
            async with self._database.transaction() as session:
                await add(session, entries)
        except DBAPIError as error:
            if len(entries) > 1:
                return [await self._alone(entry) for entry in entries]
            if str(getattr(error.orig, "sqlstate", "")).startswith(REFUSED_STATES):
                raise Invalid("the statement cannot hold an entry like this") from error
            raise
        return [None] * len(entries)

    async def _alone(self, entry: Entry) -> BaseException | None:
        try:
            await self._run([entry])
        except (CodebankError, DBAPIError) as error:
            return error
        return None


# Each card is locked by moving its last position, and cards are locked in the order of their tokens, so that two
# writers never wait for each other in a circle.
_MOVE: Final = text("""
    insert into statement_cards (card_token, last_position)
    select * from unnest(cast(:tokens as text[]), cast(:counts as bigint[]))
    on conflict (card_token) do update set last_position = statement_cards.last_position + excluded.last_position
    returning card_token, last_position
""")


async def add(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """Adds those whose ids are new behind the last positions of their cards, which are held until the commit."""
    connection = await session.connection()
    ids = literal([entry.id for entry in entries], ARRAY(Uuid))
    known = set(await connection.scalars(select(Entry.id).where(col(Entry.id) == any_(ids))))
    fresh = {entry.id: entry for entry in entries if entry.id not in known}
    if not fresh:
        return
    counts = Counter(entry.card_token for entry in fresh.values())
    tokens = sorted(counts)
    moved = await connection.execute(_MOVE, {"tokens": tokens, "counts": [counts[token] for token in tokens]})
    following = {token: last_position - counts[token] + 1 for token, last_position in moved}
    rows = []
    for entry in fresh.values():
        rows.append(entry.model_dump() | {"position": following[entry.card_token]})
        following[entry.card_token] += 1
    # Another writer may have been first with one of them, between the look and the lock: its position stays unused.
    await connection.execute(insert(Entry).on_conflict_do_nothing(index_elements=["id"]), rows)
