"""Micro-batches: shared trips, separate fates."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from functions.domain.error import Busy
from functions.runtime.batch import Batcher
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Ledger:
    """Runs batches, each only once the gate is open; refuses odd numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.broken = False

    async def run(self, items: Sequence[int]) -> Sequence[int | BaseException]:
        self.batches.append(list(items))
        await self.gate.wait()
        if self.broken:
            raise OSError("no disk")
        return [ValueError(f"{item} is odd") if item % 2 else item * 10 for item in items]


async def test_what_waits_together_runs_together_and_in_order() -> None:
    ledger = Ledger()
    batcher = Batcher(ledger.run, batch_max=3, waiting_max=10)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in (0, 2, 4, 6, 8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ledger.gate.set()
    assert await asyncio.gather(*tasks) == [0, 20, 40, 60, 80]
    assert [number for batch in ledger.batches for number in batch] == [0, 2, 4, 6, 8]
    assert max(map(len, ledger.batches)) <= 3
    assert len(ledger.batches) < 5


async def test_one_that_fails_does_not_spoil_the_others() -> None:
    ledger = Ledger()
    ledger.gate.set()
    batcher = Batcher(ledger.run, batch_max=10, waiting_max=10)
    outcomes = await asyncio.gather(*(batcher.submit(number) for number in (0, 1, 2)), return_exceptions=True)
    assert outcomes[0] == 0
    assert isinstance(outcomes[1], ValueError)
    assert outcomes[2] == 20


async def test_a_batch_that_fails_as_a_whole_is_told_to_all_and_the_next_one_runs() -> None:
    ledger = Ledger()
    ledger.gate.set()
    ledger.broken = True
    batcher = Batcher(ledger.run, batch_max=10, waiting_max=10)
    outcomes = await asyncio.gather(*(batcher.submit(number) for number in (0, 2)), return_exceptions=True)
    assert all(isinstance(outcome, OSError) for outcome in outcomes)
    ledger.broken = False
    assert await batcher.submit(4) == 40


async def test_what_is_cancelled_while_it_waits_is_not_run() -> None:
    ledger = Ledger()
    batcher = Batcher(ledger.run, batch_max=1, waiting_max=10)
    first = asyncio.create_task(batcher.submit(0))
    await until(lambda: ledger.batches, "the first batch has begun")
    second, third = (asyncio.create_task(batcher.submit(number)) for number in (2, 4))
    await asyncio.sleep(0)
    second.cancel()
    ledger.gate.set()
    assert (await first, await third) == (0, 40)
    assert ledger.batches == [[0], [4]]


async def test_more_than_may_wait_is_told_to_come_back() -> None:
    ledger = Ledger()
    batcher = Batcher(ledger.run, batch_max=1, waiting_max=2)
    first = asyncio.create_task(batcher.submit(0))
    await until(lambda: ledger.batches, "the first batch has begun")
    waiting = [asyncio.create_task(batcher.submit(number)) for number in (2, 4)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await batcher.submit(6)
    ledger.gate.set()
    assert await asyncio.gather(first, *waiting) == [0, 20, 40]
