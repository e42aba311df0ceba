"""Micro-batches: concurrent requests share one trip to the database without sharing fate."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from functions.domain.error import Busy

GATHER_STEP_SECONDS: Final = 0.0005

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Batcher(Generic[Item, Outcome]):
    """Runs the items that wait together, each batch after the one before.

    The first item runs at once, and what arrives meanwhile is the next batch. So a lone request pays nothing, and under
    load the cost of a commit is shared. gather_seconds_max is for where that is not enough: a batch is then held back
    until half of the callers that were seen lately wait for it, for at most so long. run answers one outcome for each
    item, in order; an outcome that is an exception is raised to that item's caller alone. An exception raised by run
    itself reaches every caller of the batch. More than waiting_max items waiting raises Busy.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | BaseException]]],
        *,
        batch_max: int,
        waiting_max: int,
        gather_seconds_max: float = 0.0,
    ) -> None:
        self._run = run
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._gather_seconds_max = gather_seconds_max
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Outcome:
        """Runs the item in the next batch and answers its outcome. An item cancelled while it waits is not run."""
        if len(self._waiting) >= self._waiting_max:
            raise Busy("too many requests wait already")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        callers = 0
        while self._waiting:
            if self._gather_seconds_max:
                await self._gather(callers // 2)
            batch: list[tuple[Item, asyncio.Future[Outcome]]] = []
            while self._waiting and len(batch) < self._batch_max:
                item, future = self._waiting.popleft()
                if not future.done():
                    batch.append((item, future))
            if batch:
                await self._settle(batch)
            callers = len(batch) + len(self._waiting)

    async def _gather(self, enough: int) -> None:
        """Waits until so many items wait: who called lately is likely to call again.

        Half of the callers is enough: while their batch is run, the other half is answered and calls again.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + self._gather_seconds_max
        while len(self._waiting) < min(enough, self._batch_max) and clock() < until:  # noqa: ASYNC110 - it has an end
            await asyncio.sleep(GATHER_STEP_SECONDS)

    async def _settle(self, batch: list[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        outcomes: Sequence[Outcome | BaseException]
        try:
            outcomes = await self._run([item for item, _ in batch])
            if len(outcomes) != len(batch):
                raise RuntimeError(f"{len(batch)} items were run, {len(outcomes)} outcomes came back")
        except Exception as error:
            outcomes = [error] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
