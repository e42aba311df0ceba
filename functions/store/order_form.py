"""The order form: what a shopper sends, checked and read into an order's request and a card's proof."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import uuid
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from functions.domain.card import CardProof, masked
from functions.domain.error import Fault, Invalid
from functions.domain.order import ITEMS_MAX, QUANTITY_MAX
from functions.runtime.card import CardBody
from functions.runtime.http import Malformed
from functions.store.orders import UNKNOWN_PRODUCT, OrderRequest
from functions.store.products import uuid_of

IDEMPOTENCY_KEY: Final = re.compile(r"[\x20-\x7e]{16,255}")
KEY_POINTER: Final = "#/header/idempotency-key"
ID_CHARACTERS_MAX: Final = 64


class NamedCardBody(CardBody):
    """A card with the name on it, which a shop asks for."""

    name: str


class ItemBody(BaseModel):
    """So many pieces of one product."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    product_id: str = Field(max_length=ID_CHARACTERS_MAX)
    quantity: int = Field(ge=1, le=QUANTITY_MAX)


class OrderForm(BaseModel):
    """The body of POST /api/orders."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    credit_card: NamedCardBody
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=ITEMS_MAX)]

    def read(self, now: dt.datetime) -> tuple[OrderRequest, CardProof]:
        """The order and the card. Raises Invalid with every fault that can be seen without asking anyone.

        One product has one line: two of them would be two answers to how many are wanted.
        """
        faults: list[Fault] = []
        quantities: dict[uuid.UUID, int] = {}
        for line, item in enumerate(self.items):
            product_id = uuid_of(item.product_id)
            if product_id is None:
                faults.append(Fault(f"#/items/{line}/product_id", "unknown_product", UNKNOWN_PRODUCT))
            elif product_id in quantities:
                faults.append(Fault(f"#/items/{line}/product_id", "repeated", "The product is in the order already."))
            else:
                quantities[product_id] = item.quantity
        proof = None
        if not self.credit_card.name.strip():
            faults.append(Fault("#/credit_card/name", "required", "It is the name on the card."))
        try:
            proof = self.credit_card.proof("#/credit_card", name=self.credit_card.name)
        except Invalid as error:
            faults += error.faults
        if proof is None or faults:
            raise Invalid("The order has mistakes.", tuple(faults))
        request = OrderRequest(
            quantities=quantities,
            card_brand=proof.number.brand.value,
            card_last4=proof.number.last4,
            digest=_digest(proof, quantities),
            faults=_expiry_faults(proof, now),
        )
        return request, proof


def _digest(proof: CardProof, quantities: dict[uuid.UUID, int]) -> bytes:
    """What is the same for the same request. The number and the CVV are left out: their hash could be searched."""
    card = [masked(proof.name), proof.number.brand, proof.number.last4, proof.expiry.year, proof.expiry.month]
    items = [[str(product_id), quantity] for product_id, quantity in quantities.items()]
    return hashlib.sha256(json.dumps([card, items]).encode()).digest()


def _expiry_faults(proof: CardProof, now: dt.datetime) -> tuple[Fault, ...]:
    if not proof.expiry.has_passed(now):
        return ()
    field = "expiration_month" if proof.expiry.year == now.year else "expiration_year"
    return (Fault(f"#/credit_card/{field}", "expired", "The card's last month has ended."),)


def idempotency_key(request: Request, proof: CardProof) -> str:
    """The request's Idempotency-Key (draft-ietf-httpapi-idempotency-key-header). Raises Malformed without one.

    The key is kept, so it must not be the card's number.
    """
    keys = request.headers.getlist("idempotency-key")
    if len(keys) != 1:
        raise Malformed("The request needs one Idempotency-Key header, so that a repeat is not a second order.")
    fault = None
    if not IDEMPOTENCY_KEY.fullmatch(keys[0]):
        fault = Fault(KEY_POINTER, "invalid_key", "A key has 16 to 255 characters of printable ASCII; take a UUID.")
    elif proof.number.reveal() in re.sub(r"\D", "", keys[0]):
        fault = Fault(KEY_POINTER, "card_number", "It holds the card's number.")
    if fault is not None:
        raise Invalid("The idempotency key cannot be used.", (fault,))
    return keys[0]
