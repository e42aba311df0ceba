"""Logs: one JSON object a line on standard output, with the step, the trace and no card number.

The formatter masks whatever looks like a card number. It is the last net, not the rule: the rule is that numbers travel
as functions.domain.card.CardNumber, which cannot be formatted.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import sys
from typing import Final

from functions.domain.card import luhn_check_digit
from functions.domain.event import rfc3339
from functions.runtime import trace

_DIGITS: Final = re.compile(r"(?<![0-9A-Fa-f-])\d(?:[ -]?\d){12,18}(?![0-9A-Fa-f-])")
_STANDARD: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "taskName",
}


def mask(line: str) -> str:
    """The line with every run of 13 to 19 digits that passes the Luhn check replaced, but for its last four."""

    def masked(match: re.Match[str]) -> str:
        digits = re.sub(r"\D", "", match.group())
        return "*" * (len(digits) - 4) + digits[-4:] if luhn_check_digit(digits[:-1]) == digits[-1] else match.group()

    return _DIGITS.sub(masked, line)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, service, message, trace_id, the record's extras, the traceback."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line without its end."""
        line: dict[str, object] = {
            "time": rfc3339(dt.datetime.fromtimestamp(record.created, dt.UTC)),
            "level": record.levelname.lower(),
            "service": self._service,
            "message": record.getMessage(),
        }
        if trace_id := trace.current_trace_id():
            line["trace_id"] = trace_id
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return mask(json.dumps(line, ensure_ascii=False, default=repr))


def configure() -> None:
    """Sends every record of INFO and above to standard output as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(os.environ.get("K_SERVICE", "codebank")))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "uvicorn.error", "asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
