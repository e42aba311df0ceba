"""Payment cards: numbers, brands, expiry. What a card is, not what a bank knows about one."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from functions.domain.error import Fault, Invalid
from functions.domain.secret import Secret


class Brand(StrEnum):
    """The networks that are told apart, by the leading digits of the number."""

    VISA = "visa"
    MASTERCARD = "mastercard"
    AMEX = "amex"
    ELO = "elo"
    OTHER = "other"


# Elo is asked first: some of its ranges lie inside Visa's and Mastercard's.
_ELO: Final = re.compile(
    r"(4011(78|79)|43(1274|8935)|45(1416|7393|763[12])|50(4175|6699|67[0-7]\d|9\d{3})"
    r"|627780|63(6297|6368)|6516[5-7]\d|6550\d\d)"
)
_MASTERCARD: Final = re.compile(r"(5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)")

NUMBER_DIGITS_MIN: Final = 13
NUMBER_DIGITS_MAX: Final = 19
NUMBER_DIGITS: Final[dict[Brand, frozenset[int]]] = {
    Brand.VISA: frozenset({13, 16, 19}),
    Brand.MASTERCARD: frozenset({16}),
    Brand.AMEX: frozenset({15}),
    Brand.ELO: frozenset({16}),
    Brand.OTHER: frozenset(range(NUMBER_DIGITS_MIN, NUMBER_DIGITS_MAX + 1)),
}
NAME_CHARACTERS_MAX: Final = 100

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DOUBLED: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_PLAIN: Final = bytes.maketrans(b"0123456789", bytes(range(10)))


def luhn_check_digit(digits: str) -> str:
    """The digit that makes digits + it pass the Luhn check (ISO/IEC 7812-1, annex B)."""
    from_the_right = digits.encode()[::-1]
    total = sum(from_the_right[::2].translate(_DOUBLED)) + sum(from_the_right[1::2].translate(_PLAIN))
    return str(-total % 10)


def has_control_characters(text: str) -> bool:
    """Whether the text holds characters that steer a terminal or break a line instead of being read."""
    return _CONTROL.search(text) is not None


def brand_of(digits: str) -> Brand:
    """The network, by the leading digits."""
    if _ELO.match(digits):
        return Brand.ELO
    if digits.startswith("4"):
        return Brand.VISA
    if _MASTERCARD.match(digits):
        return Brand.MASTERCARD
    if digits.startswith(("34", "37")):
        return Brand.AMEX
    return Brand.OTHER


def cvv_digits(brand: Brand) -> int:
    """How many digits a CVV has on cards of the brand."""
    return 4 if brand is Brand.AMEX else 3


class CardNumber(Secret):
    """A primary account number (ISO/IEC 7812): 13 to 19 digits, as many as its brand has, whose last is right.

    Raises ValueError otherwise.
    """

    __slots__ = ("brand",)

    def __init__(self, text: str) -> None:
        if not (text.isascii() and text.isdigit() and NUMBER_DIGITS_MIN <= len(text) <= NUMBER_DIGITS_MAX):
            raise ValueError(f"a card number has {NUMBER_DIGITS_MIN} to {NUMBER_DIGITS_MAX} digits")
        brand = brand_of(text)
        if len(text) not in NUMBER_DIGITS[brand] or luhn_check_digit(text[:-1]) != text[-1]:
            raise ValueError("the card number is not right: check its digits")
        super().__init__(text)
        self.brand = brand

    @property
    def last4(self) -> str:
        """The last four digits, which may be shown (PCI DSS 4.0 §3.4.1)."""
        return self.reveal()[-4:]


class Cvv(Secret):
    """A card verification value: three digits, four for American Express. Raises ValueError otherwise."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if not (text.isascii() and text.isdigit() and len(text) in (3, 4)):
            raise ValueError("a CVV has three or four digits")
        super().__init__(text)


@dataclass(frozen=True, order=True)
class Expiry:
    """The last month in which a card is good. Raises ValueError for what is not a month."""

    year: int
    month: int

    def __post_init__(self) -> None:
        if not 1 <= self.month <= 12:
            raise ValueError("a month is 1 to 12")
        if not 2000 <= self.year <= 2999:
            raise ValueError("a year has four digits")

    def has_passed(self, now: dt.datetime) -> bool:
        """Whether the month has ended, in UTC: a card is good to the last instant of its month."""
        utc = now.astimezone(dt.UTC)
        return (utc.year, utc.month) > (self.year, self.month)


@dataclass(frozen=True)
class CardProof:
    """What only the holder of the card can read off it."""

    name: str
    number: CardNumber
    expiry: Expiry
    cvv: Cvv

    @classmethod
    def read(
        cls, *, name: str, number: str, expiration_month: int, expiration_year: int, cvv: str, pointer: str
    ) -> CardProof:
        """Reads a card as a caller gave it. Raises Invalid with every fault, each at its field under the pointer."""
        faults: list[Fault] = []
        parsed_number, parsed_expiry, parsed_cvv = None, None, None
        if len(name) > NAME_CHARACTERS_MAX or has_control_characters(name):
            detail = f"a name has at most {NAME_CHARACTERS_MAX} printable characters"
            faults.append(Fault(f"{pointer}/name", "invalid_name", detail))
        try:
            parsed_number = CardNumber(number)
        except ValueError as error:
            faults.append(Fault(f"{pointer}/number", "invalid_number", str(error)))
        try:
            parsed_expiry = Expiry(expiration_year, expiration_month)
        except ValueError as error:
            field = "expiration_year" if 1 <= expiration_month <= 12 else "expiration_month"
            faults.append(Fault(f"{pointer}/{field}", "invalid_expiry", str(error)))
        try:
            parsed_cvv = Cvv(cvv)
            if parsed_number and len(cvv) != cvv_digits(parsed_number.brand):
                raise ValueError("the CVV has another number of digits for this card")
        except ValueError as error:
            faults.append(Fault(f"{pointer}/cvv", "invalid_cvv", str(error)))
        if parsed_number is None or parsed_expiry is None or parsed_cvv is None or faults:
            raise Invalid("the card is not written correctly", tuple(faults))
        return cls(name, parsed_number, parsed_expiry, parsed_cvv)


_PERHAPS_NUMBERS: Final = re.compile(r"\d(?:[ .-]?\d){12,18}")


def masked(text: str) -> str:
    """The text with whatever can be read as a card number of a known brand masked, but for its last four digits.

    For what people type freely, such as a description: a number that is pasted there must not be kept.
    """
    return _PERHAPS_NUMBERS.sub(_masked_number, text) if len(text) >= NUMBER_DIGITS_MIN else text


def _masked_number(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match.group())
    try:
        known = CardNumber(digits).brand is not Brand.OTHER
    except ValueError:
        known = False
    return "*" * (len(digits) - 4) + digits[-4:] if known else match.group()
