"""Waiting for a condition, instead of for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

DEADLINE_SECONDS = 60.0
INTERVAL_SECONDS = 0.02


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Answers the first true value of the condition, which may be a coroutine function.

    Fails the test, saying what was awaited, where none comes.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"still not so after {DEADLINE_SECONDS:.0f} s: {what}"
        await asyncio.sleep(INTERVAL_SECONDS)
