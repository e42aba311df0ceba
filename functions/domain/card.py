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
    r"(4011(78|79)|43(1274|8935)|45(1416|7393|763[12])|50(4175|6699|67[0-7]\d|9\d{3})|627780|63(6297|6368)|6516[5-7]\d|6550\d\d)"
)
_MASTERCARD: Final = re.compile(r"(5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)")

NUMBER_DIGITS_MIN: Final = 13
NUMBER_DIGITS_MAX: Final = 19
NAME_CHARACTERS_MAX: Final = 100


def luhn_check_digit(digits: str) -> str:
    """The digit that makes digits + it pass the Luhn check (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, character in enumerate(reversed(digits)):
        digit = int(character) * (2 if position % 2 == 0 else 1)
        total += digit - 9 if digit > 9 else digit
    return str(-total % 10)


class CardNumber(Secret):
    """A primary account number (ISO/IEC 7812): 13 to 19 digits whose last is right. Raises ValueError otherwise."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if not (text.isascii() and text.isdigit() and NUMBER_DIGITS_MIN <= len(text) <= NUMBER_DIGITS_MAX):
            raise ValueError(f"a card number has {NUMBER_DIGITS_MIN} to {NUMBER_DIGITS_MAX} digits")
        if luhn_check_digit(text[:-1]) != text[-1]:
            raise ValueError("the card number is not right: check its digits")
        super().__init__(text)

    @property
    def last4(self) -> str:
        """The last four digits, which may be shown (PCI DSS 4.0 §3.4.1)."""
        return self.reveal()[-4:]

    @property
    def brand(self) -> Brand:
        """The network, by the leading digits."""
        number = self.reveal()
        if _ELO.match(number):
            return Brand.ELO
        if number.startswith("4"):
            return Brand.VISA
        if _MASTERCARD.match(number):
            return Brand.MASTERCARD
        if number.startswith(("34", "37")):
            return Brand.AMEX
        return Brand.OTHER


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
        if len(name) > NAME_CHARACTERS_MAX or any(ord(character) < 32 or ord(character) == 127 for character in name):
            faults.append(
                Fault(
                    f"{pointer}/name", "invalid_name", f"a name has at most {NAME_CHARACTERS_MAX} printable characters"
                )
            )
        try:
            parsed_number = CardNumber(number)
        except ValueError as error:
            faults.append(Fault(f"{pointer}/number", "invalid_number", str(error)))
        try:
            parsed_expiry = Expiry(expiration_year, expiration_month)
        except ValueError as error:
            field = "expiration_month" if not 1 <= expiration_month <= 12 else "expiration_year"
            faults.append(Fault(f"{pointer}/{field}", "invalid_expiry", str(error)))
        try:
            parsed_cvv = Cvv(cvv)
            if parsed_number and len(cvv) != (4 if parsed_number.brand is Brand.AMEX else 3):
                raise ValueError("the CVV has another number of digits for this card")
        except ValueError as error:
            faults.append(Fault(f"{pointer}/cvv", "invalid_cvv", str(error)))
        if parsed_number is None or parsed_expiry is None or parsed_cvv is None or faults:
            raise Invalid("the card is not written correctly", tuple(faults))
        return cls(name, parsed_number, parsed_expiry, parsed_cvv)
