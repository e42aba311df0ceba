"""The catalogue: what each event must say, and that a stranger's extra word does no harm."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from functions.domain.event import CATALOGUE, PAYMENT_APPROVED, PAYMENT_DECLINED, PAYMENT_REFUNDED, event_id, rfc3339

DATA: dict[str, Any] = {
    "transaction_id": "t",
    "order_id": None,
    "status": "approved",
    "amount_minor": 1,
    "currency": "BRL",
    "store": "s",
    "description": "",
    "card": {"token": "c", "brand": "visa", "last4": "1234"},
    "decline_code": None,
    "payment_date": "2026-01-01T01:02:03+01:00",
}


def test_times_are_utc_whatever_they_were_written_in() -> None:
    data = CATALOGUE[PAYMENT_APPROVED].model_validate(DATA)
    assert '"payment_date":"2026-01-01T00:02:03.000000Z"' in data.model_dump_json()


def test_unknown_fields_are_accepted() -> None:
    CATALOGUE[PAYMENT_APPROVED].model_validate(DATA | {"new": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"amount_minor": 1.0},
        {"amount_minor": "1"},
        {"amount_minor": True},
        {"amount_minor": 10**13},
        {"currency": "brl"},
        {"status": "declined"},
        {"decline_code": "unknown_card"},
        {"payment_date": "2026-01-01T00:00:00"},
        {"card": {"token": "c", "brand": "visa", "last4": "1234123412341234"}},
        {"transaction_id": "x" * 65},
    ],
)
def test_data_that_contradicts_its_type_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CATALOGUE[PAYMENT_APPROVED].model_validate(DATA | change)


def test_a_declined_payment_says_why_and_a_refund_of_what() -> None:
    with pytest.raises(ValidationError):
        CATALOGUE[PAYMENT_DECLINED].model_validate(DATA | {"status": "declined"})
    with pytest.raises(ValidationError):
        CATALOGUE[PAYMENT_REFUNDED].model_validate(DATA | {"status": "refunded"})


def test_a_second_publication_has_the_same_id() -> None:
    assert event_id(PAYMENT_APPROVED, "t") == event_id(PAYMENT_APPROVED, "t")
    assert len({event_id(kind, "t") for kind in CATALOGUE}) == len(CATALOGUE)


def test_moments_sort_as_their_text_does() -> None:
    first = dt.datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=dt.UTC)
    assert rfc3339(first) < rfc3339(first + dt.timedelta(microseconds=1)) < rfc3339(first + dt.timedelta(days=400))
