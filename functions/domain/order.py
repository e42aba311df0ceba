"""Orders: what a shopper asked for, and what became of it."""

from __future__ import annotations

from enum import StrEnum

from functions.domain.error import Conflict


class OrderStatus(StrEnum):
    """The life of an order: pending, then what the bank decided, or expired where it never decided."""

    PENDING = "pending"
    APPROVED = "approved"
    DECLINED = "declined"
    REFUNDED = "refunded"
    EXPIRED = "expired"


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
