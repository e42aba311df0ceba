"""Card numbers, brands, expiry, and the proof that a caller gives."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from functions.domain.card import (
    NUMBER_DIGITS,
    Brand,
    CardNumber,
    CardProof,
    Cvv,
    Expiry,
    brand_of,
    cvv_digits,
    has_control_characters,
    luhn_check_digit,
    masked,
)
from functions.domain.error import Invalid

digits = st.text("0123456789", min_size=12, max_size=18)


def number(prefix: str, length: int) -> str:
    """A right number that begins like this."""
    body = prefix + "0" * (length - len(prefix) - 1)
    return body + luhn_check_digit(body)


def slow_luhn(text: str) -> int:
    """The sum of ISO/IEC 7812-1, annex B, as it is written there."""
    total = 0
    for place, character in enumerate(reversed(text)):
        digit = int(character)
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total


@given(digits)
def test_the_check_digit_makes_the_sum_a_multiple_of_ten(body: str) -> None:
    assert slow_luhn(body + luhn_check_digit(body)) % 10 == 0


@given(digits, st.data())
def test_one_wrong_digit_is_found(body: str, data: st.DataObject) -> None:
    whole = body + luhn_check_digit(body)
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.sampled_from("0123456789"))
    assume(other != whole[place])
    wrong = whole[:place] + other + whole[place + 1 :]
    with pytest.raises(ValueError, match="not right"):
        CardNumber(wrong)


@pytest.mark.parametrize(
    ("prefix", "brand"),
    [
        ("4", Brand.VISA),
        ("51", Brand.MASTERCARD),
        ("55", Brand.MASTERCARD),
        ("2221", Brand.MASTERCARD),
        ("2720", Brand.MASTERCARD),
        ("2220", Brand.OTHER),
        ("2721", Brand.OTHER),
        ("34", Brand.AMEX),
        ("37", Brand.AMEX),
        ("401178", Brand.ELO),
        ("636368", Brand.ELO),
        ("509000", Brand.ELO),
        ("36", Brand.OTHER),
        ("6011", Brand.OTHER),
    ],
)
def test_the_leading_digits_tell_the_brand(prefix: str, brand: Brand) -> None:
    assert brand_of(prefix + "0" * 10) is brand
    length = min(NUMBER_DIGITS[brand])
    assert CardNumber(number(prefix, length)).brand is brand


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "4111 1111 1111 1111",
        "４１１１１１１１１１１１１１１１",
        "-4111111111111111",
        "4" * 20,
        "abcdefghijklmnop",
    ],
)
def test_what_is_not_thirteen_to_nineteen_digits_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="13 to 19 digits"):
        CardNumber(text)


@pytest.mark.parametrize(("prefix", "length"), [("4", 15), ("51", 15), ("34", 16), ("636368", 19)])
def test_a_number_has_as_many_digits_as_its_brand(prefix: str, length: int) -> None:
    with pytest.raises(ValueError, match="not right"):
        CardNumber(number(prefix, length))


def test_amex_has_four_digits_of_cvv_and_the_others_three() -> None:
    assert [cvv_digits(brand) for brand in Brand] == [4 if brand is Brand.AMEX else 3 for brand in Brand]


def test_a_card_is_good_to_the_last_instant_of_its_month_in_utc() -> None:
    expiry = Expiry(2030, 6)
    assert not expiry.has_passed(dt.datetime(2030, 6, 30, 23, 59, 59, 999999, dt.UTC))
    assert expiry.has_passed(dt.datetime(2030, 7, 1, tzinfo=dt.UTC))
    east = dt.timezone(dt.timedelta(hours=14))
    assert not expiry.has_passed(dt.datetime(2030, 7, 1, 13, 59, tzinfo=east)), "in UTC it still is June"
    west = dt.timezone(dt.timedelta(hours=-10))
    assert expiry.has_passed(dt.datetime(2030, 6, 30, 14, 0, tzinfo=west)), "in UTC it is July"


@pytest.mark.parametrize(("year", "month"), [(2030, 0), (2030, 13), (30, 1), (1999, 12), (3000, 1)])
def test_what_is_not_a_month_is_no_expiry(year: int, month: int) -> None:
    with pytest.raises(ValueError, match=r"month|year"):
        Expiry(year, month)


def read(**changes: Any) -> CardProof:
    fields: dict[str, Any] = {
        "name": "Ana Lima",
        "number": number("4", 16),
        "expiration_month": 12,
        "expiration_year": 2039,
        "cvv": "123",
    }
    return CardProof.read(**(fields | changes), pointer="#/card")


def test_a_proof_is_read_and_shows_nothing_of_itself() -> None:
    proof = read()
    assert (proof.number.last4, proof.expiry, proof.cvv) == (number("4", 16)[-4:], Expiry(2039, 12), Cvv("123"))
    assert number("4", 16) not in repr(proof)
    assert "123" not in repr(proof)


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"number": "1"}, {"#/card/number"}),
        ({"name": "x" * 101}, {"#/card/name"}),
        ({"name": "a\tb"}, {"#/card/name"}),
        ({"expiration_month": 13}, {"#/card/expiration_month"}),
        ({"expiration_year": 39}, {"#/card/expiration_year"}),
        ({"cvv": "12"}, {"#/card/cvv"}),
        ({"cvv": "1234"}, {"#/card/cvv"}),
        ({"number": number("34", 15)}, {"#/card/cvv"}),
        ({"number": "", "cvv": "", "expiration_month": 0}, {"#/card/number", "#/card/cvv", "#/card/expiration_month"}),
    ],
)
def test_every_fault_of_a_proof_is_named_at_its_field(changes: dict[str, Any], pointers: set[str]) -> None:
    with pytest.raises(Invalid) as invalid:
        read(**changes)
    assert {fault.pointer for fault in invalid.value.faults} == pointers
    assert not any(str(value) in str(invalid.value.faults) for value in changes.values() if len(str(value)) > 3)


@given(st.text(max_size=50), st.sampled_from(["", " ", "-", "."]), st.text(max_size=50))
def test_numbers_in_free_text_are_masked_however_they_are_grouped(before: str, between: str, after: str) -> None:
    assume(not (before and before[-1] in "0123456789 -.") and not (after and after[0] in "0123456789 -."))
    pan = number("4539", 16)
    grouped = between.join(pan[start : start + 4] for start in range(0, 16, 4))
    text = masked(f"{before}{grouped}{after}")
    assert pan not in text.replace(between or " ", "")
    assert pan[-4:] in text


def test_what_is_no_card_number_is_left_as_it_is() -> None:
    for text in ("order 20240101123456", "1234567890123456", "+55 11 91234-5678", "", "4539 9800"):
        assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [("plain", False), ("é 🍰", False), ("a\nb", True), ("\x7f", True), ("\x85", True), ("\u2028", True)],
)
def test_control_characters_are_found(text: str, found: bool) -> None:
    assert has_control_characters(text) is found
