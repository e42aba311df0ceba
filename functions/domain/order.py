"""Orders: what a shopper asked for, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from functions.domain.error import Conflict
from functions.domain.money import Money
from functions.domain.payment import DeclineCode

ITEMS_MAX: Final = 50
"""The most products in one order."""

QUANTITY_MAX: Final = 99
"""The most pieces of one product in one order."""

TOTAL_MINOR_MAX: Final = 100_000_000
"""The largest total of one order, in minor units."""


class OrderStatus(StrEnum):
    """The life of an order: pending, then what the bank decided, or expired where it never decided.

    An order stays approved while a part of it is given back, and is refunded once all of it is.
    """

    PENDING = "pending"
    APPROVED = "approved"
    DECLINED = "declined"
    REFUNDED = "refunded"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Decision:
    """What became of the payment of an order: approved or declined by the bank, or expired because it never will be."""

    status: OrderStatus
    transaction_id: str | None = None
    amount: Money | None = None
    decline_code: DeclineCode | None = None


EXPIRED: Final = Decision(OrderStatus.EXPIRED)

_NEXT: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.PENDING: frozenset(
        {OrderStatus.APPROVED, OrderStatus.DECLINED, OrderStatus.REFUNDED, OrderStatus.EXPIRED}
    ),
    OrderStatus.APPROVED: frozenset({OrderStatus.REFUNDED}),
    OrderStatus.DECLINED: frozenset(),
    OrderStatus.REFUNDED: frozenset(),
    OrderStatus.EXPIRED: frozenset(),
}


def settled_status(current: OrderStatus, decided: OrderStatus) -> OrderStatus:
    """The status after hearing a decision, in whatever order decisions are heard.

    A decision that is already reflected, or that a later one has overtaken (approved after refunded), changes nothing.
    Raises Conflict where both cannot be true, such as approved after declined: that is for people to look at.
    """
    if decided in _NEXT[current]:
        return decided
    if current == decided or (current, decided) == (OrderStatus.REFUNDED, OrderStatus.APPROVED):
        return current
    raise Conflict(f"an order that is {current} was heard to be {decided}")


def refunded_status(current: OrderStatus, total_minor: int, refunded_minor: int) -> OrderStatus:
    """The status once refunded_minor of the total was given back, counting the refund that was just heard of.

    A refund tells that the payment was approved, also to who has not heard of that yet. Raises Conflict where more was
    given back than was paid, or nothing was paid.
    """
    if not 0 < refunded_minor <= total_minor:
        raise Conflict(f"{refunded_minor} minor units were heard to be given back of {total_minor}")
    whole = refunded_minor == total_minor
    return settled_status(current, OrderStatus.REFUNDED if whole else OrderStatus.APPROVED)
