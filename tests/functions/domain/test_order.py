"""Orders: which life an order can have."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.error import Conflict
from functions.domain.order import OrderStatus, refunded_status, settled_status

PENDING, APPROVED, DECLINED = OrderStatus.PENDING, OrderStatus.APPROVED, OrderStatus.DECLINED
REFUNDED, EXPIRED = OrderStatus.REFUNDED, OrderStatus.EXPIRED

POSSIBLE = {
    (PENDING, APPROVED): APPROVED,
    (PENDING, DECLINED): DECLINED,
    (PENDING, REFUNDED): REFUNDED,
    (PENDING, EXPIRED): EXPIRED,
    (APPROVED, REFUNDED): REFUNDED,
    (REFUNDED, APPROVED): REFUNDED,
} | {(status, status): status for status in OrderStatus}


@pytest.mark.parametrize(("current", "decided"), list(itertools.product(OrderStatus, OrderStatus)))
def test_what_is_heard_changes_the_order_or_nothing_or_contradicts_it(
    current: OrderStatus, decided: OrderStatus
) -> None:
    if (current, decided) in POSSIBLE:
        assert settled_status(current, decided) is POSSIBLE[current, decided]
    else:
        with pytest.raises(Conflict):
            settled_status(current, decided)


@given(st.permutations([APPROVED, APPROVED, REFUNDED, REFUNDED]))
def test_any_order_of_hearing_ends_the_same(heard: list[OrderStatus]) -> None:
    status = PENDING
    for decided in heard:
        status = settled_status(status, decided)
    assert status is REFUNDED


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(0, 1000))
def test_parts_keep_the_order_approved_and_the_whole_refunds_it(parts: list[int], left: int) -> None:
    total_minor, status, refunded_minor = sum(parts) + left, PENDING, 0
    for part in parts:
        refunded_minor += part
        status = refunded_status(status, total_minor, refunded_minor)
        assert status is (REFUNDED if refunded_minor == total_minor else APPROVED)


@pytest.mark.parametrize(
    ("status", "total_minor", "refunded_minor"),
    [(APPROVED, 100, 101), (APPROVED, 100, 0), (REFUNDED, 100, 101), (DECLINED, 100, 1), (EXPIRED, 100, 100)],
)
def test_more_than_was_paid_is_not_given_back(status: OrderStatus, total_minor: int, refunded_minor: int) -> None:
    with pytest.raises(Conflict):
        refunded_status(status, total_minor, refunded_minor)
