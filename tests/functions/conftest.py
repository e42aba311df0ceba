"""What the tests of the owners share: steps in this process, and a bank to talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.functions.fake_bank import MERCHANT_TOKEN, FakeBank
from tests.functions.steps import StepProcess, Steps


@pytest.fixture
async def steps(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Steps]:
    """Loads steps, and closes them at the end."""
    loader = Steps(monkeypatch)
    yield loader
    await loader.close()


@pytest.fixture
async def bank(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeBank]:
    """The bank at BANK_ADDRESS."""
    fake = FakeBank()
    await fake.start()
    monkeypatch.setenv("BANK_ADDRESS", fake.address)
    monkeypatch.setenv("BANK_TOKEN", MERCHANT_TOKEN)
    yield fake
    await fake.stop()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[str], Awaitable[StepProcess]]]:
    """Starts a step as a process of its own; all are ended at the end."""
    started: list[StepProcess] = []

    async def start(name: str) -> StepProcess:
        started.append(StepProcess(name))
        await started[-1].start()
        return started[-1]

    yield start
    for process in started:
        await process.stop()
