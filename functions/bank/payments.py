"""Payments, refunds, cancels and sign-ins: group commit.

Requests that arrive while a commit is under way wait, and share the next one: one database transaction for all of them,
each with its own outcome. A lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Final, cast

import asyncpg

from functions.bank.books import Books
from functions.bank.database import Connection, Database
from functions.bank.keys import KeyFile
from functions.bank.ledger import Cancel, Card, Ledger, Payment, Refund, Request, SignIn, Transaction
from functions.domain.error import CodebankError, Unavailable
from functions.runtime.batch import Batcher

_log = logging.getLogger(__name__)

BATCH_REQUESTS_MAX: Final = 256
WAITING_REQUESTS_MAX: Final = 2000
GATHER_SECONDS_MAX: Final = 0.004
ATTEMPTS_MAX: Final = 5

Outcome = Transaction | Card | None


class DeadlinePassed(CodebankError):
    """The caller's deadline passed before the commit: nothing was done."""


def now_utc() -> dt.datetime:
    """The bank's clock."""
    return dt.datetime.now(dt.UTC)


class Payments:
    """Decides requests in batches. `posted` is called after each commit that left something to announce."""

    def __init__(
        self,
        database: Database,
        keys: KeyFile,
        *,
        posted: Callable[[], None] = lambda: None,
        clock: Callable[[], dt.datetime] = now_utc,
    ) -> None:
        self._database = database
        self._keys = keys
        self._posted = posted
        self._clock = clock
        self._books = Books()
        self._batcher: Batcher[Request, Outcome] = Batcher(
            self._run,
            batch_max=BATCH_REQUESTS_MAX,
            waiting_max=WAITING_REQUESTS_MAX,
            gather_seconds_max=GATHER_SECONDS_MAX,
        )

    async def pay(self, request: Payment) -> Transaction:
        """The decision, committed. Raises KeyReused, KeyFenced, DeadlinePassed, Busy, Unavailable."""
        return cast(Transaction, await self._batcher.submit(request))

    async def refund(self, request: Refund) -> Transaction:
        """The refund, committed. Raises as pay does, and NotFound, NotRefundable."""
        return cast(Transaction, await self._batcher.submit(request))

    async def cancel(self, request: Cancel) -> Transaction | None:
        """What was decided under the key; None once it is fenced. Raises DeadlinePassed, Busy, Unavailable."""
        return cast(Transaction | None, await self._batcher.submit(request))

    async def sign_in(self, request: SignIn) -> Card:
        """The card whose proof it is. Raises Unauthenticated, DeadlinePassed, Busy (also while locked), Unavailable."""
        return cast(Card, await self._batcher.submit(request))

    async def _run(self, requests: Sequence[Request]) -> Sequence[Outcome | BaseException]:
        for attempt in range(ATTEMPTS_MAX):
            try:
                return await self._attempt(requests, locking=attempt > 0)
            except _CONCURRENT:
                continue
            except _REFUSED as error:
                if len(requests) == 1:
                    raise
                # The code let through what the database refuses. It must not be more than one request's misfortune.
                _log.warning("a batch was refused (%s); its requests are run one by one", type(error).__name__)
                return [await self._alone(request) for request in requests]
        raise Unavailable("another bank is busy with the same")

    async def _alone(self, request: Request) -> Outcome | BaseException:
        try:
            return (await self._run([request]))[0]
        except Exception as error:
            return error

    async def _attempt(self, requests: Sequence[Request], *, locking: bool) -> list[Outcome | BaseException]:
        """One transaction. Requests whose deadline passes before it is written are left out of it."""
        outcomes: list[Outcome | BaseException] = [
            DeadlinePassed("the deadline passed before anything was done") for _ in requests
        ]
        async with self._database.connection() as connection:
            while live := _in_time(requests):
                batch = [requests[index] for index in live]
                await self._books.open_merchant_accounts(connection, batch)
                async with connection.transaction() if locking else nullcontext():
                    decided = await self._decide(connection, batch, locking=locking)
                if decided is None:
                    continue
                ledger, answers = decided
                if ledger.postings:
                    self._posted()
                for index, outcome in zip(live, answers, strict=True):
                    outcomes[index] = outcome
                break
        return outcomes

    async def _decide(
        self, connection: Connection, batch: Sequence[Request], *, locking: bool
    ) -> tuple[Ledger, list[Outcome | BaseException]] | None:
        """The outcomes, written; None, and nothing is written, where a deadline has passed meanwhile."""
        keyring = self._keys.keyring
        pages = await self._books.read(connection, batch, keyring, locking=locking)
        # The clock is read after the cards: for each card, moments ascend as commits do.
        ledger = Ledger(pages, keyring, self._clock())
        answers: list[Outcome | BaseException] = [ledger.decide(request) for request in batch]
        if len(_in_time(batch)) < len(batch):
            return None
        if ledger.decided_anything and not await self._books.write(connection, pages, ledger):
            raise _CardsChanged
        return ledger, answers


class _CardsChanged(Exception):
    """Another bank was quicker on one of the batch's cards: nothing was written."""


# What another bank's concurrent batch can cause; decided again, it is seen.
_CONCURRENT: Final = (
    _CardsChanged,
    asyncpg.UniqueViolationError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)

# What no concurrency explains: a constraint, or a value that a column cannot hold.
_REFUSED: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)


def _in_time(requests: Sequence[Request]) -> list[int]:
    """The positions of the requests whose deadline has not passed."""
    now = asyncio.get_running_loop().time()
    return [index for index, request in enumerate(requests) if request.deadline is None or request.deadline > now]
