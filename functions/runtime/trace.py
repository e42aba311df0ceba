"""The W3C trace context (https://www.w3.org/TR/trace-context/) that a request carries through the steps."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def enter(traceparent: str | None) -> str:
    """Makes this the current context, or a new one where it is missing or malformed; answers what is current."""
    if traceparent is None or not _TRACEPARENT.fullmatch(traceparent):
        drawn = secrets.token_hex(24)
        traceparent = f"00-{drawn[:32]}-{drawn[32:]}-00"
    _current.set(traceparent)
    return traceparent


def current_traceparent() -> str | None:
    """The traceparent to hand on, where there is one."""
    return _current.get()


def current_trace_id() -> str | None:
    """The trace id of the current context: 32 hexadecimal digits."""
    traceparent = _current.get()
    return traceparent.split("-")[1] if traceparent else None
