"""The protocol of the bank's first clients: payment.PaymentService (protos/payment/payment.proto).

It has no credentials: whoever reaches the port may call it (a mesh decides who does), and counts as the merchant
"legacy". It has no idempotency key: each call is one payment. It has the only float of the bank, which ends here.
"""

from __future__ import annotations

import math
import uuid
from decimal import Decimal
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty

from functions.bank import request
from functions.bank.payments import Payments
from functions.bank.rpc import Call, Method
from functions.domain.card import brand_of, cvv_digits
from functions.domain.error import Conflict, Fault, Invalid
from functions.domain.money import AMOUNT_MINOR_MAX
from functions.domain.payment import DECLINE_MEANINGS
from protos.codebank.bank.v1 import bank_pb2 as pb
from protos.payment import payment_pb2

SERVICE: Final = payment_pb2.DESCRIPTOR.services_by_name["PaymentService"].full_name
MERCHANT: Final = "legacy"
CURRENCY: Final = "BRL"
DECIMALS: Final = 2

NOISE_ULPS_MAX: Final = 8
"""How far from a whole cent a double may be: as far as adding up a few prices in floating point takes it."""


class PaymentDeclined(Conflict):
    """The card was not charged; the old protocol has no other way to say so than an error."""


def minor_of(amount: float) -> int:
    """The minor units of an amount in major units that came as a double. Raises ValueError.

    0.1 + 0.2 is 30 cents: a double within NOISE_ULPS_MAX units in the last place of a whole cent is that cent. 19.999
    is refused: nobody can know what was meant. So are NaN, infinities, zero and negatives.
    """
    if not math.isfinite(amount):
        raise ValueError("an amount is a finite number")
    if amount <= 0:
        raise ValueError("an amount is more than zero")
    if amount > AMOUNT_MINOR_MAX / 10**DECIMALS:
        raise ValueError(f"an amount is at most {AMOUNT_MINOR_MAX} minor units")
    exact = Decimal(amount)
    cents = (exact * 10**DECIMALS).to_integral_value()
    noise = abs(exact - cents / 10**DECIMALS)
    if cents == 0 or noise > NOISE_ULPS_MAX * Decimal(math.ulp(amount)):
        raise ValueError(f"an amount has at most {DECIMALS} decimals")
    return int(cents)


class LegacyService:
    """The old protocol's one method."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    def methods(self) -> dict[str, Method[Any]]:
        """Every method by its name in payment.proto."""
        return {"Payment": Method(payment_pb2.PaymentRequest, None, self.payment)}

    async def payment(self, message: payment_pb2.PaymentRequest, call: Call) -> Empty:
        """Charges a card. Raises Invalid, PaymentDeclined."""
        try:
            amount_minor = minor_of(message.amount)
        except ValueError as error:
            raise Invalid("the amount is not usable", (Fault("#/amount", "invalid_amount", str(error)),)) from None
        card = message.creditCard
        translated = pb.PayRequest(
            idempotency_key=str(uuid.uuid4()),
            card=pb.CardProof(
                name=card.name,
                number=card.number,
                expiration_month=card.expirationMonth,
                expiration_year=card.expirationYear,
                # As an integer a CVV has lost its leading zeros.
                cvv=str(card.cvv).zfill(cvv_digits(brand_of(card.number))),
            ),
            amount_minor=amount_minor,
            currency=CURRENCY,
            store=message.store,
            description=message.description,
        )
        try:
            payment = request.payment(translated, MERCHANT, call)
        except Invalid as error:
            raise Invalid(error.detail, tuple(map(_as_named_here, error.faults))) from None
        decided = await self._payments.pay(payment)
        if decided.decline_code is not None:
            raise PaymentDeclined(f"{decided.decline_code}: {DECLINE_MEANINGS[decided.decline_code]}")
        return Empty()


_NAMES: Final = {
    "#/card/name": "#/creditCard/name",
    "#/card/number": "#/creditCard/number",
    "#/card/expiration_month": "#/creditCard/expirationMonth",
    "#/card/expiration_year": "#/creditCard/expirationYear",
    "#/card/cvv": "#/creditCard/cvv",
}


def _as_named_here(fault: Fault) -> Fault:
    return Fault(_NAMES.get(fault.pointer, fault.pointer), fault.code, fault.detail)
