"""What callers send, checked and read into the ledger's requests. Every fault is named with its field."""

from __future__ import annotations

import re
import uuid
from typing import Final

from functions.bank.ledger import Cancel, Payment, Refund, SignIn
from functions.bank.limits import (
    DESCRIPTION_CHARACTERS_MAX,
    IDEMPOTENCY_KEY_CHARACTERS_MAX,
    ORDER_ID_CHARACTERS_MAX,
    STORE_CHARACTERS_MAX,
)
from functions.bank.rpc import Call
from functions.domain.card import NAME_CHARACTERS_MAX, Brand, CardProof, has_control_characters, masked
from functions.domain.error import Fault, Invalid
from functions.domain.money import AMOUNT_MINOR_MAX, EXPONENTS
from functions.domain.payment import transaction_id_of
from protos.codebank.bank.v1 import bank_pb2 as pb

_KEY: Final = re.compile(rf"[\x20-\x7e]{{1,{IDEMPOTENCY_KEY_CHARACTERS_MAX}}}")
_ORDER_ID: Final = re.compile(rf"[\x21-\x7e]{{0,{ORDER_ID_CHARACTERS_MAX}}}")


def card_proof(card: pb.CardProof) -> CardProof:
    """The proof of a card. Raises Invalid."""
    return CardProof.read(
        name=card.name,
        number=card.number,
        expiration_month=card.expiration_month,
        expiration_year=card.expiration_year,
        cvv=card.cvv,
        pointer="#/card",
    )


def transaction_id(merchant: str, idempotency_key: str) -> str:
    """The id of what is decided under the merchant's key. Raises Invalid for what is not a key."""
    if not _KEY.fullmatch(idempotency_key):
        detail = f"a key has 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters of printable ASCII"
        raise Invalid("the idempotency key is not usable", (Fault("#/idempotency_key", "invalid_key", detail),))
    return transaction_id_of(merchant, idempotency_key)


def payment(message: pb.PayRequest, merchant: str, call: Call) -> Payment:
    """A request to charge a card. Raises Invalid with all its faults."""
    faults: list[Fault] = []
    payment_id, proof = "", None
    try:
        payment_id = transaction_id(merchant, message.idempotency_key)
    except Invalid as error:
        faults += error.faults
    try:
        proof = card_proof(message.card)
    except Invalid as error:
        faults += error.faults
    faults += amount_faults(message.amount_minor)
    faults += currency_faults(message.currency)
    faults += text_faults("store", message.store, STORE_CHARACTERS_MAX)
    faults += text_faults("description", message.description, DESCRIPTION_CHARACTERS_MAX)
    if not _ORDER_ID.fullmatch(message.order_id):
        detail = (
            f"an order's id has at most {ORDER_ID_CHARACTERS_MAX} characters of printable ASCII, none of them a space"
        )
        faults.append(Fault("#/order_id", "invalid_order_id", detail))
    if proof is not None:
        faults += _number_faults(message, proof)
    if faults or proof is None:
        raise Invalid("the payment is not written correctly", tuple(faults))
    return Payment(
        payment_id,
        merchant,
        proof,
        message.amount_minor,
        message.currency,
        masked(message.store),
        masked(message.description),
        message.order_id or None,
        call.deadline,
        call.traceparent,
    )


def refund(message: pb.RefundRequest, merchant: str, call: Call) -> Refund:
    """A request to give back. Raises Invalid."""
    refund_id = transaction_id(merchant, message.idempotency_key)
    payment_id = uuid_of(message.transaction_id, "transaction_id")
    if message.amount_minor:
        faults = amount_faults(message.amount_minor)
        if faults:
            raise Invalid("the refund is not written correctly", tuple(faults))
    return Refund(refund_id, merchant, payment_id, message.amount_minor, call.deadline, call.traceparent)


def cancel(message: pb.CancelRequest, merchant: str, call: Call) -> Cancel:
    """A request to settle a key's fate. Raises Invalid."""
    return Cancel(transaction_id(merchant, message.idempotency_key), merchant, call.deadline)


def sign_in(message: pb.SignInRequest, call: Call) -> SignIn:
    """A request to prove a card. Raises Invalid."""
    return SignIn(card_proof(message.card), call.deadline)


def issue_faults(message: pb.IssueCardRequest) -> list[Fault]:
    """What is wrong with a request for a card."""
    faults = limit_faults(message.limit_minor) + currency_faults(message.currency)
    if not message.name.strip():
        faults.append(Fault("#/name", "required", "a card needs the name of its holder"))
    faults += text_faults("name", message.name, NAME_CHARACTERS_MAX)
    if masked(message.name) != message.name:
        faults.append(Fault("#/name", "invalid_name", "a name holds no card number"))
    if message.brand not in {"", *Brand} - {Brand.OTHER}:
        faults.append(Fault("#/brand", "unknown_brand", "a brand is visa, mastercard, elo or amex"))
    return faults


def uuid_of(text: str, field: str) -> str:
    """A token or a transaction's id, as the bank writes them. Raises Invalid."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Invalid(
            f"{field} is not an id of this bank", (Fault(f"#/{field}", "invalid_id", "it is a UUID"),)
        ) from None


def amount_faults(amount_minor: int) -> list[Fault]:
    """What is wrong with an amount that moves."""
    if 0 < amount_minor <= AMOUNT_MINOR_MAX:
        return []
    return [Fault("#/amount_minor", "invalid_amount", f"an amount is 1 to {AMOUNT_MINOR_MAX} minor units")]


def limit_faults(limit_minor: int) -> list[Fault]:
    """What is wrong with a card's limit."""
    if 0 <= limit_minor <= AMOUNT_MINOR_MAX:
        return []
    return [Fault("#/limit_minor", "invalid_amount", f"a limit is 0 to {AMOUNT_MINOR_MAX} minor units")]


def currency_faults(currency: str) -> list[Fault]:
    """What is wrong with a currency."""
    return [] if currency in EXPONENTS else [Fault("#/currency", "unknown_currency", "it is a code of ISO 4217")]


def text_faults(field: str, text: str, characters_max: int) -> list[Fault]:
    """What is wrong with free text."""
    if len(text) > characters_max:
        return [Fault(f"#/{field}", "too_long", f"it has at most {characters_max} characters")]
    if has_control_characters(text):
        return [Fault(f"#/{field}", "control_characters", "it holds no control characters")]
    return []


def _number_faults(message: pb.PayRequest, proof: CardProof) -> list[Fault]:
    """An id is kept as it is, so it must not be the card's number; in free text, numbers are masked."""
    number = proof.number.reveal()
    return [
        Fault(f"#/{field}", "card_number", "it holds the card's number")
        for field, text in (("idempotency_key", message.idempotency_key), ("order_id", message.order_id))
        if number in text
    ]
