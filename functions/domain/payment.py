"""Payments and refunds as the bank decides them and everyone else hears of them."""

from __future__ import annotations

from enum import StrEnum


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
