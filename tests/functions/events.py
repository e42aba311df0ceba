"""The bank's events, as a test wants them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from functions.domain.event import (
    BANK_SOURCE,
    CATALOGUE,
    PAYMENT_APPROVED,
    PAYMENT_DECLINED,
    PAYMENT_REFUNDED,
    event_id,
)
from functions.runtime.event import Event, announce

_STATUS = {PAYMENT_APPROVED: "approved", PAYMENT_DECLINED: "declined", PAYMENT_REFUNDED: "refunded"}


def event_of(event_type: str = PAYMENT_APPROVED, **fields: Any) -> Event:
    """An event of the type. What is not given is made up."""
    transaction_id = fields.pop("transaction_id", None) or str(uuid.uuid4())
    token = fields.pop("card_token", None) or str(uuid.uuid4())
    content = {
        "transaction_id": transaction_id,
        "order_id": None,
        "status": _STATUS[event_type],
        "amount_minor": 1990,
        "currency": "BRL",
        "store": "Codeshop",
        "description": "Ceramic mug",
        "card": {"token": token, "brand": "visa", "last4": "4242"},
        "decline_code": "insufficient_funds" if event_type == PAYMENT_DECLINED else None,
        "payment_date": dt.datetime.now(dt.UTC),
        "refund_of": str(uuid.uuid4()) if event_type == PAYMENT_REFUNDED else None,
    } | fields
    data = CATALOGUE[event_type].model_validate(content)
    return announce(event_type, BANK_SOURCE, event_id(event_type, transaction_id), data, partition_key=token)
