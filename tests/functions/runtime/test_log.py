"""Logs are JSON, and what looks like a card number is masked."""

from __future__ import annotations

import json
import logging
import secrets
import sys

import pytest

from functions.domain.card import luhn_check_digit
from functions.runtime import trace
from functions.runtime.log import JsonFormatter, mask


def number(digits: int) -> str:
    body = "4" + "".join(secrets.choice("0123456789") for _ in range(digits - 2))
    return body + luhn_check_digit(body)


@pytest.mark.parametrize("digits", [13, 15, 16, 19])
def test_card_numbers_are_masked_but_for_their_last_four(digits: int) -> None:
    card = number(digits)
    grouped = " ".join(card[start : start + 4] for start in range(0, digits, 4))
    for text in (card, grouped, grouped.replace(" ", "-")):
        masked = mask(f"card {text}, please")
        assert card[:-4] not in masked.replace(" ", "").replace("-", "")
        assert masked.startswith("card *")
        assert masked.endswith(f"{card[-4:]}, please")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00.123456Z",
        "b0048b1f-d30f-410f-88d6-68a71b382e59",
        "1234567890123",
        "4bf92f3577b34da6a3ce929d0e0e4736",
    ],
)
def test_times_ids_and_other_numbers_stay(text: str) -> None:
    assert mask(text) == text


def test_a_record_is_a_line_with_its_trace_and_extras() -> None:
    traceparent = trace.enter("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    try:
        raise ValueError(number(16))
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "p", 1, "it %s", ("broke",), sys.exc_info())
    record.event_id = "e"
    line = JsonFormatter("post").format(record)
    fields = json.loads(line)
    assert (fields["service"], fields["level"], fields["message"], fields["event_id"]) == (
        "post",
        "error",
        "it broke",
        "e",
    )
    assert fields["trace_id"] in traceparent
    assert "ValueError: ************" in fields["traceback"]
    assert "\n" not in line
