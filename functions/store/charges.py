"""Charges: what the store asks of the bank for an order. An order has one key at the bank, so one charge at most."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
import grpc.aio

from functions.domain.card import CardProof
from functions.domain.error import Forbidden, Invalid, NotFound, Unauthenticated
from functions.domain.money import Money
from functions.domain.order import EXPIRED, Decision, OrderStatus
from functions.domain.payment import DeclineCode, transaction_id_of
from functions.runtime import settings
from functions.runtime.bank import CALL_TIMEOUT_SECONDS, Bank, bank_errors
from functions.runtime.card import proof_message
from functions.store.orders import WholeOrder
from protos.codebank.bank.v1 import bank_pb2

MERCHANT_ID_DEFAULT: Final = "codeshop"
STORE_NAME: Final = "Codeshop"
"""The store as the cardholder's statement names it."""

DESCRIPTION_CHARACTERS_MAX: Final = 140


class ShopRefused(Exception):
    """The bank refuses what this store sends, whatever the order: the token or the code is wrong, not the shopper."""


class Charges:
    """The bank, as the store uses it."""

    def __init__(self, bank: Bank, *, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> None:
        self._bank = bank
        self._timeout_seconds = timeout_seconds

    async def pay(self, whole: WholeOrder, proof: CardProof) -> Decision:
        """Charges the card for the order, once however often it is asked.

        Waits for a bank that is just starting, for as long as it waits for an answer. Raises Unavailable where the
        outcome is not known, Busy where nothing was done, Conflict where another card was charged for the order.
        """
        request = bank_pb2.PayRequest(
            idempotency_key=_key(whole.order.id),
            card=proof_message(proof),
            amount_minor=whole.order.total_minor,
            currency=whole.order.currency,
            store=STORE_NAME,
            description=description_of(whole),
            order_id=str(whole.order.id),
        )
        with _refusals():
            try:
                transaction = await self._bank.stub.Pay(
                    request, timeout=self._timeout_seconds, metadata=self._bank.metadata(), wait_for_ready=True
                )
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    return EXPIRED  # The order's key was cancelled: nothing will ever be charged under it.
                raise
        return _decision(transaction)

    async def cancel(self, order_id: uuid.UUID) -> Decision:
        """What the bank decided about the order; where it did not, it never will. Raises Unavailable, Busy."""
        request = bank_pb2.CancelRequest(idempotency_key=_key(order_id))
        with _refusals():
            answer = await self._bank.stub.Cancel(
                request, timeout=self._timeout_seconds, metadata=self._bank.metadata()
            )
        return EXPIRED if answer.fenced else _decision(answer.transaction)


@contextmanager
def _refusals() -> Iterator[None]:
    """The bank's errors as domain errors, but for those that no shopper can do anything about."""
    try:
        with bank_errors():
            yield
    except (Invalid, Unauthenticated, Forbidden, NotFound) as error:
        raise ShopRefused(f"{type(error).__name__}: {error.detail}") from None


def payment_id_of(order_id: uuid.UUID) -> str:
    """The id that the order's payment has at the bank, if there is one: it is this store's, made under the order's key.

    The store is the merchant MERCHANT_ID, as the bank's token for it says.
    """
    return transaction_id_of(settings.text("MERCHANT_ID", MERCHANT_ID_DEFAULT), _key(order_id))


def _key(order_id: uuid.UUID) -> str:
    return f"order-{order_id}"


def _decision(transaction: bank_pb2.Transaction) -> Decision:
    amount = Money(transaction.amount_minor, transaction.currency)
    if transaction.status == bank_pb2.TRANSACTION_STATUS_APPROVED:
        return Decision(OrderStatus.APPROVED, transaction.id, amount)
    name = bank_pb2.DeclineCode.Name(transaction.decline_code).removeprefix("DECLINE_CODE_")
    return Decision(OrderStatus.DECLINED, transaction.id, amount, DeclineCode[name])


def description_of(whole: WholeOrder) -> str:
    """The order in a line for the statement. It depends on what is stored only: a repeat must ask for the same."""
    names = [item.name if item.quantity == 1 else f"{item.quantity} × {item.name}" for item in whole.items]
    shown = len(names)
    while True:
        left = len(names) - shown
        line = ", ".join(names[:shown]) + (f" and {left} more" if left else "")
        if len(line) <= DESCRIPTION_CHARACTERS_MAX or shown == 1:
            return line
        shown -= 1
