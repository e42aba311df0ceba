"""The old protocol: its float edge, its refusals, its switch."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.bank.legacy import minor_of
from functions.domain.card import CardProof
from functions.domain.money import AMOUNT_MINOR_MAX
from functions.domain.payment import DeclineCode
from protos.payment import payment_pb2, payment_pb2_grpc
from tests.functions.bank.desk import Desk, code_of, open_desk, together

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("amount", "amount_minor"),
    [
        (10.0, 1000),
        (0.01, 1),
        (0.1 + 0.2, 30),
        (0.1 + 0.7, 80),
        (1.1 + 2.2, 330),
        (19.99, 1999),
        (4.35, 435),
        (1.005 * 1000, 100_500),
        (sum([0.1] * 10), 100),
        (33.33 * 3, 9999),
        (9_999_999_999.99, 999_999_999_999),
        (1e10, AMOUNT_MINOR_MAX),
    ],
)
def test_a_double_near_a_whole_cent_is_that_cent(amount: float, amount_minor: int) -> None:
    assert minor_of(amount) == amount_minor


@pytest.mark.parametrize(
    "amount",
    [
        0.0,
        -0.0,
        -1.0,
        -1e-300,
        math.nan,
        math.inf,
        -math.inf,
        1e308,
        1e10 + 0.01,
        19.999,
        1.005,
        0.001,
        0.005,
        0.009999,
        1e-300,
        5e-324,
        10.0000001,
    ],
)
def test_what_is_no_amount_of_cents_is_refused(amount: float) -> None:
    with pytest.raises(ValueError, match="an amount"):
        minor_of(amount)


@given(st.integers(1, AMOUNT_MINOR_MAX))
def test_every_amount_of_cents_survives_its_way_through_a_double(amount_minor: int) -> None:
    assert minor_of(amount_minor / 100) == amount_minor


@given(st.integers(1, 10**8), st.integers(1, 9))
def test_a_third_decimal_is_always_found(amount_minor: int, thousandths: int) -> None:
    with pytest.raises(ValueError, match="2 decimals"):
        minor_of((amount_minor * 10 + thousandths) / 1000)


def request_of(proof: CardProof, amount: float = 12.34, **more: Any) -> payment_pb2.PaymentRequest:
    """A payment as the first clients send it."""
    card = payment_pb2.CreditCard(
        name=proof.name,
        number=proof.number.reveal(),
        expirationMonth=proof.expiry.month,
        expirationYear=proof.expiry.year,
        cvv=int(proof.cvv.reveal()),
    )
    fields: dict[str, Any] = {"creditCard": card, "amount": amount, "store": "A store", "description": "A thing"}
    return payment_pb2.PaymentRequest(**(fields | more))


def stub(desk: Desk) -> Any:
    """The generated client of the old protocol."""
    return payment_pb2_grpc.PaymentServiceStub(desk.anyone.channel)


@pytest.fixture
async def demo(bank_url: str, keys_path: Path) -> AsyncIterator[Desk]:
    """A bank with its demo cards."""
    desk = await open_desk(bank_url, keys_path, demo=True)
    yield desk
    await desk.close()


async def test_a_payment_without_any_token_counts_as_the_merchant_legacy(demo: Desk) -> None:
    proof = demo.demo_cards()[0]
    await stub(demo).Payment(request_of(proof, 0.1 + 0.2))
    await stub(demo).Payment(request_of(proof, 0.1 + 0.2))
    rows = await demo.fetch("select merchant, amount_minor, currency, order_id from transactions")
    assert [tuple(row) for row in rows] == [("legacy", 30, "BRL", None)] * 2, "each call is a payment"
    await demo.assert_books()


async def test_leading_zeros_of_a_cvv_are_restored(desk: Desk) -> None:
    for brand in ("visa", "amex"):
        for _ in range(200):
            proof, _ = await desk.issue(brand=brand)
            if proof.cvv.reveal().startswith("0"):
                break
        await stub(desk).Payment(request_of(proof))
    assert await desk.value("select count(*) from transactions where decline_code is null") == 2


async def test_a_decline_is_failed_precondition_and_says_its_code(demo: Desk) -> None:
    scripted = demo.demo_cards()[-len(DeclineCode) :]
    for proof, code in zip(scripted, DeclineCode, strict=True):
        [answer] = await together(stub(demo).Payment(request_of(proof)))
        assert code_of(answer) is grpc.StatusCode.FAILED_PRECONDITION
        assert answer.details().startswith(f"{code}: ")


@pytest.mark.parametrize(
    "change",
    [
        {"amount": math.nan},
        {"amount": 19.999},
        {"amount": -1.0},
        {"amount": 0.0},
        {"creditCard": payment_pb2.CreditCard()},
        {"store": "x" * 256},
        {"description": "\x07"},
    ],
)
async def test_a_malformed_payment_is_invalid_argument(demo: Desk, change: dict[str, Any]) -> None:
    [answer] = await together(stub(demo).Payment(request_of(demo.demo_cards()[0], **change)))
    assert code_of(answer) is grpc.StatusCode.INVALID_ARGUMENT
    assert await demo.value("select count(*) from transactions") == 0


@pytest.mark.parametrize("cvv", [-1, 12345, 2**31 - 1, -(2**31)])
async def test_an_odd_cvv_is_invalid_argument(demo: Desk, cvv: int) -> None:
    request = request_of(demo.demo_cards()[0])
    request.creditCard.cvv = cvv
    [answer] = await together(stub(demo).Payment(request))
    assert code_of(answer) is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_old_protocol_can_be_switched_off(bank_url: str, keys_path: Path) -> None:
    desk = await open_desk(bank_url, keys_path, legacy_protocol=False)
    try:
        proof, _ = await desk.issue()
        [answer] = await together(stub(desk).Payment(request_of(proof)))
        assert code_of(answer) is grpc.StatusCode.UNIMPLEMENTED
        await desk.merchant.pay(proof)
    finally:
        await desk.close()
