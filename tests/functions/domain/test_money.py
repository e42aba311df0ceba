"""Money is whole minor units of one currency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.money import AMOUNT_MINOR_MAX, EXPONENTS, Money

amounts = st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX)
currencies = st.sampled_from(sorted(EXPONENTS))


@given(amounts, amounts, currencies)
def test_sums_and_differences_are_exact_and_undo_each_other(first: int, second: int, currency: str) -> None:
    one, other = Money(first, currency), Money(second, currency)
    assert (one + other) - other == one
    assert one - other == -(other - one)
    assert (one + other).amount_minor == first + second


@given(amounts, st.integers(0, 1000), currencies)
def test_a_multiple_is_that_many_times_the_amount(amount_minor: int, quantity: int, currency: str) -> None:
    assert (Money(amount_minor, currency) * quantity).amount_minor == amount_minor * quantity


def test_two_currencies_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="BRL and USD"):
        Money(1, "BRL") + Money(1, "USD")
    with pytest.raises(ValueError, match="BRL and USD"):
        Money(1, "BRL") - Money(1, "USD")


@pytest.mark.parametrize("amount", [1.0, "1", True, None])
def test_only_whole_numbers_are_amounts(amount: Any) -> None:
    with pytest.raises(ValueError, match="integer"):
        Money(amount, "BRL")


@pytest.mark.parametrize("currency", ["brl", "BR", "XXX", "BTC", "", "BRL "])
def test_only_iso_4217_is_a_currency(currency: str) -> None:
    with pytest.raises(ValueError, match="unknown currency"):
        Money(1, currency)


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(123456, "BRL"), "1234.56 BRL"),
        (Money(5, "BRL"), "0.05 BRL"),
        (Money(-5, "BRL"), "-0.05 BRL"),
        (Money(0, "USD"), "0.00 USD"),
        (Money(500, "JPY"), "500 JPY"),
        (Money(1, "KWD"), "0.001 KWD"),
    ],
)
def test_money_is_shown_with_the_decimals_of_its_currency(money: Money, text: str) -> None:
    assert str(money) == text


def test_the_largest_amount_is_exact_in_every_json_reader() -> None:
    assert AMOUNT_MINOR_MAX < 2**53
