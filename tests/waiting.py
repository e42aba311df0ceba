"""Waiting for a condition, instead of for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Value = TypeVar("Value")

DEADLINE_SECONDS = 60.0
INTERVAL_SECONDS = 0.02


async def until(condition: Callable[[], Awaitable[Value]] | Callable[[], Value], what: str) -> Value:
    """Answers the condition's first true value. Fails the test, saying what was awaited, where none comes."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {DEADLINE_SECONDS:.0f} s: {what}")
        await asyncio.sleep(INTERVAL_SECONDS)
