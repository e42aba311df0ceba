"""Payments and refunds as the bank decides them and everyone else hears of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from functions.domain.identity import derived_id


class TransactionKind(StrEnum):
    """What a transaction does."""

    PAYMENT = "payment"
    REFUND = "refund"


class TransactionStatus(StrEnum):
    """What the bank decided. Decisions are final; corrections are new transactions."""

    APPROVED = "approved"
    DECLINED = "declined"
    REFUNDED = "refunded"


class DeclineCode(StrEnum):
    """Why a payment was declined."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNKNOWN_CARD = "unknown_card"
    INCORRECT_CVC = "incorrect_cvc"
    EXPIRED_CARD = "expired_card"
    CARD_BLOCKED = "card_blocked"
    CARD_LOCKED = "card_locked"
    CURRENCY_MISMATCH = "currency_mismatch"


DECLINE_MEANINGS: Final[dict[DeclineCode, str]] = {
    DeclineCode.INSUFFICIENT_FUNDS: "The amount is more than the card has left.",
    DeclineCode.UNKNOWN_CARD: "The bank has no card of this number.",
    DeclineCode.INCORRECT_CVC: "The CVV or the expiry is not the card's. Wrong guesses are counted.",
    DeclineCode.EXPIRED_CARD: "The card's last month has ended.",
    DeclineCode.CARD_BLOCKED: "The bank has blocked the card; its holder must ask the bank.",
    DeclineCode.CARD_LOCKED: "Too many wrong CVVs: the card is locked for a while, for right ones too.",
    DeclineCode.CURRENCY_MISMATCH: "The card is kept in another currency than the payment's.",
}
"""The published table: what each code tells a merchant."""


def transaction_id_of(merchant: str, idempotency_key: str) -> str:
    """The id of the transaction that is decided under the merchant's key.

    Both sides can derive it, so a merchant recognises its own payments among the events of all.
    """
    return derived_id("transaction", merchant, idempotency_key)
