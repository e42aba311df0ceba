"""Dead letters: events that a step refused or did not take in time, with the reason, until somebody deals with them."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import BigInteger, DateTime, Index, Integer, LargeBinary, Text, case, func, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel, col, select

from functions.domain.error import Conflict, NotFound
from functions.domain.identity import derived_id
from functions.runtime.batch import Batcher
from functions.runtime.database import Database

BATCH_LETTERS_MAX: Final = 200
WAITING_LETTERS_MAX: Final = 2_000
STEP_CHARACTERS_MAX: Final = 253
ERROR_ATTRIBUTES: Final = ("knativeerrordest", "knativeerrorcode", "knativeerrordata")
"""What a source tells of its failure (Knative's delivery specification)."""

OPEN: Final = "open"
REPLAYED: Final = "replayed"
DISCARDED: Final = "discarded"


class DeadLetter(SQLModel, table=True):
    """One event that one step did not take.

    attempts counts how often it came back: from its source, or from a replay. headers and data are the event in binary
    mode, as its source sent it.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (Index("dead_letters_open", "step", "position", postgresql_where=text("state = 'open'")),)

    position: int | None = Field(default=None, sa_type=BigInteger, nullable=False, unique=True)
    id: uuid.UUID = Field(primary_key=True)
    step: str = Field(sa_type=Text)
    event_source: str = Field(sa_type=Text)
    event_id: str = Field(sa_type=Text)
    event_type: str = Field(sa_type=Text)
    subject: str | None = Field(default=None, sa_type=Text)
    headers: dict[str, str] = Field(sa_type=JSONB)
    data: bytes = Field(sa_type=LargeBinary)
    state: str = Field(default=OPEN, sa_type=Text)
    error_code: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    attempts: int = Field(default=1, sa_type=Integer)
    first_at: dt.datetime | None = Field(default=None, sa_type=DateTime(timezone=True), nullable=False)
    last_at: dt.datetime | None = Field(default=None, sa_type=DateTime(timezone=True), nullable=False)
    closed_at: dt.datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    closed_by: str | None = Field(default=None, sa_type=Text)
    discard_reason: str | None = Field(default=None, sa_type=Text)


def letter_of(headers: Mapping[str, str], data: bytes) -> DeadLetter:
    """The dead letter that a source has sent, in binary mode.

    Nothing is refused: what is refused here would come back as a dead letter, and again, without end.
    """
    sent = {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"}
    attributes = {name[3:]: unquote(value).replace("\0", "\ufffd") for name, value in sent.items()}
    event_id = attributes.get("id") or hashlib.sha256(data).hexdigest()
    event_source = attributes.get("source", "")
    step = step_of(attributes.get("knativeerrordest", ""))[:STEP_CHARACTERS_MAX]
    errors = {f"ce-{name}" for name in ERROR_ATTRIBUTES}
    return DeadLetter(
        id=uuid.UUID(derived_id("dead-letter", step, event_source, event_id)),
        step=step,
        event_source=event_source,
        event_id=event_id,
        event_type=attributes.get("type", ""),
        subject=attributes.get("subject"),
        headers={name: value for name, value in sent.items() if name not in errors},
        data=data,
        error_code=attributes.get("knativeerrorcode", ""),
        reason=attributes.get("knativeerrordata", ""),
    )


def step_of(destination: str) -> str:
    """The step that failed, by the URL or the name that its source gives: the first word of the host."""
    try:
        host = urlsplit(destination).hostname
    except ValueError:
        host = None
    return (host or destination).partition(".")[0]


class Letters:
    """The dead letters in the operations' database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher: Batcher[DeadLetter, None] = Batcher(
            self._store, batch_max=BATCH_LETTERS_MAX, waiting_max=WAITING_LETTERS_MAX
        )

    async def store(self, letter: DeadLetter) -> None:
        """Keeps the letter. One that was replayed and failed again is open again; a discarded one stays discarded.

        Letters that come at the same time share a commit. Raises Busy, Unavailable.
        """
        await self._batcher.submit(letter)

    async def _store(self, letters: Sequence[DeadLetter]) -> Sequence[None]:
        upsert = insert(DeadLetter)
        again: dict[str, Any] = {
            "attempts": DeadLetter.attempts + 1,
            "last_at": func.clock_timestamp(),
            "error_code": upsert.excluded.error_code,
            "reason": upsert.excluded.reason,
            "state": func.coalesce(func.nullif(col(DeadLetter.state), REPLAYED), OPEN),
            "closed_at": _unless_replayed(DeadLetter.closed_at),
            "closed_by": _unless_replayed(DeadLetter.closed_by),
        }
        statement = upsert.on_conflict_do_update(index_elements=["id"], set_=again)
        fields = {"id", "step", "event_source", "event_id", "event_type", "subject", "headers", "data"}
        # Always in the order of their ids: two writers never wait for each other in a circle.
        rows = [letter.model_dump(include=fields | {"error_code", "reason"}) for letter in letters]
        async with self._database.transaction() as session:
            connection = await session.connection()
            for row in sorted(rows, key=lambda row: str(row["id"])):
                await connection.execute(statement, row)
        return [None] * len(letters)

    async def page(
        self,
        *,
        after: int,
        limit: int,
        state: str | None = None,
        step: str | None = None,
        event_type: str | None = None,
    ) -> Sequence[DeadLetter]:
        """Letters behind a position, oldest first."""
        query = select(DeadLetter).where(col(DeadLetter.position) > after)
        for column, wanted in ((DeadLetter.state, state), (DeadLetter.step, step), (DeadLetter.event_type, event_type)):
            if wanted is not None:
                query = query.where(col(column) == wanted)
        async with self._database.transaction() as session:
            return (await session.exec(query.order_by(col(DeadLetter.position)).limit(limit))).all()

    async def get(self, letter_id: uuid.UUID) -> DeadLetter:
        """One letter. Raises NotFound."""
        async with self._database.transaction() as session:
            letter = await session.get(DeadLetter, letter_id)
        if letter is None:
            raise NotFound("There is no such dead letter.")
        return letter

    async def close(self, letter_id: uuid.UUID, state: str, who: str, reason: str | None = None) -> DeadLetter:
        """Says that it was replayed, or discarded for a reason. Raises NotFound, Conflict where it is closed."""
        async with self._database.transaction() as session:
            letter = await session.get(DeadLetter, letter_id, with_for_update=True)
            if letter is None:
                raise NotFound("There is no such dead letter.")
            if letter.state == DISCARDED or (letter.state == REPLAYED and state == DISCARDED):
                raise Conflict(f"The dead letter is {letter.state} already.")
            letter.state, letter.closed_at, letter.closed_by = state, dt.datetime.now(dt.UTC), who
            letter.discard_reason = reason
        return letter

    async def failed_again(self, letter_id: uuid.UUID, error_code: str, reason: str) -> DeadLetter:
        """Notes that a replay was not taken either. Raises NotFound."""
        async with self._database.transaction() as session:
            letter = await session.get(DeadLetter, letter_id, with_for_update=True)
            if letter is None:
                raise NotFound("There is no such dead letter.")
            letter.attempts += 1
            letter.last_at, letter.error_code, letter.reason = dt.datetime.now(dt.UTC), error_code, reason
        return letter


def _unless_replayed(column: Any) -> Any:
    return case((col(DeadLetter.state) == REPLAYED, None), else_=column)
