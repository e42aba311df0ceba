"""Real engines in tests: what needs one is skipped where it cannot be had, and fails instead under CI=true."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.engines.engine import EngineError


@contextmanager
def needed(what: str) -> Iterator[None]:
    """Turns an EngineError into the reason of a skip, or with CI=true into a failure."""
    try:
        yield
    except EngineError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{what}: {error}")
