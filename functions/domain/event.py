"""The catalogue of events: each CloudEvents type and the data it carries.

Consumers accept unknown fields, so a new optional field is compatible; a new required field or a changed type is not.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from functions.domain.identity import derived_id
from functions.domain.money import AMOUNT_MINOR_MAX
from functions.domain.payment import DeclineCode, TransactionStatus

BANK_SOURCE: Final = "/codebank/bank"

PAYMENT_APPROVED: Final = "codebank.payment.approved.v1"
PAYMENT_DECLINED: Final = "codebank.payment.declined.v1"
PAYMENT_REFUNDED: Final = "codebank.payment.refunded.v1"


def rfc3339(moment: dt.datetime) -> str:
    """The moment in UTC as RFC 3339 with microseconds and Z, so that text sorts as time does."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


Moment = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A moment with a time zone; JSON shows it in UTC."""


class EventCard(BaseModel):
    """The card of a transaction, as far as others may know it. All null where the bank does not know the card."""

    token: str | None = Field(max_length=64)
    brand: str | None = Field(max_length=32)
    last4: str | None = Field(pattern=r"^[0-9]{4}$")


class TransactionData(BaseModel):
    """What the bank decided about one transaction.

    amount_minor is in minor units of the ISO 4217 currency, positive for payments and for refunds; refund_of is the
    payment that a refund gives back.
    """

    model_config = ConfigDict(extra="ignore")

    transaction_id: str = Field(max_length=64)
    order_id: str | None = Field(max_length=64)
    status: TransactionStatus
    amount_minor: int = Field(gt=0, le=AMOUNT_MINOR_MAX, strict=True)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    store: str = Field(max_length=255)
    description: str = Field(max_length=1000)
    card: EventCard
    decline_code: DeclineCode | None
    payment_date: Moment
    refund_of: str | None = Field(default=None, max_length=64)


class PaymentApproved(TransactionData):
    """A payment was approved: the card is charged."""

    status: Literal[TransactionStatus.APPROVED]
    decline_code: None


class PaymentDeclined(TransactionData):
    """A payment was declined: nothing is charged."""

    status: Literal[TransactionStatus.DECLINED]
    decline_code: DeclineCode


class PaymentRefunded(TransactionData):
    """All or part of a payment was given back to the card."""

    status: Literal[TransactionStatus.REFUNDED]
    decline_code: None
    refund_of: str = Field(max_length=64)


CATALOGUE: Final[dict[str, type[TransactionData]]] = {
    PAYMENT_APPROVED: PaymentApproved,
    PAYMENT_DECLINED: PaymentDeclined,
    PAYMENT_REFUNDED: PaymentRefunded,
}

TYPE_OF_STATUS: Final[dict[TransactionStatus, str]] = {
    TransactionStatus.APPROVED: PAYMENT_APPROVED,
    TransactionStatus.DECLINED: PAYMENT_DECLINED,
    TransactionStatus.REFUNDED: PAYMENT_REFUNDED,
}


def event_id(event_type: str, transaction_id: str) -> str:
    """The id of the event that announces this: the same however often it is published."""
    return derived_id("event", event_type, transaction_id)
