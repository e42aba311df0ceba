"""The service codebank.bank.v1.Bank: what each method takes, who may call it, what it answers."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from functions.bank import request
from functions.bank.cards import Cards
from functions.bank.history import History
from functions.bank.keys import KeyFile
from functions.bank.ledger import Card, Transaction
from functions.bank.limits import PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX
from functions.bank.payments import Payments, now_utc
from functions.bank.rpc import Call, Method
from functions.bank.token import Role, session_token
from functions.domain.card import Brand
from functions.domain.error import Fault, Invalid
from functions.domain.payment import DeclineCode, TransactionKind
from protos.codebank.bank.v1 import bank_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Bank"].full_name

MERCHANTS: Final = frozenset({Role.MERCHANT})
OPERATORS: Final = frozenset({Role.OPERATOR})
ANY_ROLE: Final = MERCHANTS | OPERATORS

SIGN_IN_SECONDS_MIN: Final = 0.05
"""Sign-in answers no earlier: a wrong CVV is counted in the database and an unknown number is not, and nobody should
learn from the time it takes which of the two it was."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DECLINE_CODES: Final = {code: pb.DeclineCode.Value(f"DECLINE_CODE_{code.name}") for code in DeclineCode}
_KINDS: Final = {
    TransactionKind.PAYMENT: pb.TRANSACTION_KIND_PAYMENT,
    TransactionKind.REFUND: pb.TRANSACTION_KIND_REFUND,
}


class BankService:
    """The methods. Each reads its message, asks one noun, and writes the answer."""

    def __init__(
        self,
        payments: Payments,
        cards: Cards,
        history: History,
        keys: KeyFile,
        clock: Callable[[], dt.datetime] = now_utc,
    ) -> None:
        self._payments = payments
        self._cards = cards
        self._history = history
        self._keys = keys
        self._clock = clock

    def methods(self) -> dict[str, Method[Any]]:
        """Every method by its name in bank.proto. None: whoever can reach the bank may call it."""
        return {
            "Pay": Method(pb.PayRequest, MERCHANTS, self.pay),
            "Refund": Method(pb.RefundRequest, MERCHANTS, self.refund),
            "Cancel": Method(pb.CancelRequest, MERCHANTS, self.cancel),
            "GetTransaction": Method(pb.GetTransactionRequest, ANY_ROLE, self.get_transaction),
            "ListTransactions": Method(pb.ListTransactionsRequest, ANY_ROLE, self.list_transactions),
            "IssueCard": Method(pb.IssueCardRequest, OPERATORS, self.issue_card),
            "BlockCard": Method(pb.BlockCardRequest, OPERATORS, self.block_card),
            "UnblockCard": Method(pb.UnblockCardRequest, OPERATORS, self.unblock_card),
            "SetCardLimit": Method(pb.SetCardLimitRequest, OPERATORS, self.set_card_limit),
            "SignIn": Method(pb.SignInRequest, None, self.sign_in),
            "GetJsonWebKeySet": Method(pb.GetJsonWebKeySetRequest, None, self.get_json_web_key_set),
        }

    async def pay(self, message: pb.PayRequest, call: Call) -> pb.Transaction:
        """Charges a card once per key. A decline is an answer."""
        return transaction_message(await self._payments.pay(request.payment(message, call.caller.subject, call)))

    async def refund(self, message: pb.RefundRequest, call: Call) -> pb.Transaction:
        """Gives back all or part of a payment, once per key."""
        return transaction_message(await self._payments.refund(request.refund(message, call.caller.subject, call)))

    async def cancel(self, message: pb.CancelRequest, call: Call) -> pb.CancelResponse:
        """What was decided under a key; where nothing was, nothing will be."""
        decided = await self._payments.cancel(request.cancel(message, call.caller.subject, call))
        if decided is None:
            return pb.CancelResponse(fenced=True)
        return pb.CancelResponse(transaction=transaction_message(decided))

    async def get_transaction(self, message: pb.GetTransactionRequest, call: Call) -> pb.Transaction:
        """One transaction, of the merchant who asks or, for an operator, of any."""
        transaction_id = request.uuid_of(message.id, "id")
        return transaction_message(await self._history.transaction(transaction_id, merchant=_own(call)))

    async def list_transactions(self, message: pb.ListTransactionsRequest, call: Call) -> pb.ListTransactionsResponse:
        """Transactions, newest first, page by page."""
        if not 0 <= message.page_size <= PAGE_ROWS_MAX:
            fault = Fault("#/page_size", "invalid_page_size", f"a page has 1 to {PAGE_ROWS_MAX} transactions")
            raise Invalid("the page is too large", (fault,))
        transactions, next_page_token = await self._history.page(
            merchant=_own(call),
            card_token=request.uuid_of(message.card_token, "card_token") if message.card_token else None,
            rows=message.page_size or PAGE_ROWS_DEFAULT,
            page_token=message.page_token,
        )
        return pb.ListTransactionsResponse(
            transactions=map(transaction_message, transactions), next_page_token=next_page_token
        )

    async def issue_card(self, message: pb.IssueCardRequest, call: Call) -> pb.IssuedCard:
        """Makes a card."""
        faults = request.issue_faults(message)
        if faults:
            raise Invalid("the card cannot be issued like this", tuple(faults))
        brand = Brand(message.brand) if message.brand else Brand.VISA
        issued = await self._cards.issue(message.name, message.currency, message.limit_minor, brand)
        return pb.IssuedCard(
            card=card_message(issued.card), number=issued.proof.number.reveal(), cvv=issued.proof.cvv.reveal()
        )

    async def block_card(self, message: pb.BlockCardRequest, call: Call) -> pb.Card:
        """Refuses the card's payments until it is unblocked."""
        return card_message(await self._cards.set_blocked(request.uuid_of(message.token, "token"), blocked=True))

    async def unblock_card(self, message: pb.UnblockCardRequest, call: Call) -> pb.Card:
        """Lets the card pay again."""
        return card_message(await self._cards.set_blocked(request.uuid_of(message.token, "token"), blocked=False))

    async def set_card_limit(self, message: pb.SetCardLimitRequest, call: Call) -> pb.Card:
        """Changes how much the card may owe at once."""
        faults = request.limit_faults(message.limit_minor)
        if faults:
            raise Invalid("the limit cannot be like this", tuple(faults))
        return card_message(await self._cards.set_limit(request.uuid_of(message.token, "token"), message.limit_minor))

    async def sign_in(self, message: pb.SignInRequest, call: Call) -> pb.Session:
        """A short-lived token for who proves a card."""
        earliest = asyncio.get_running_loop().time() + SIGN_IN_SECONDS_MIN
        try:
            card = await self._payments.sign_in(request.sign_in(message, call))
        finally:
            await asyncio.sleep(earliest - asyncio.get_running_loop().time())
        token, expires_at = session_token(
            self._keys.keyring, card_token=card.token, brand=card.brand, last4=card.last4, now=self._clock()
        )
        session = pb.Session(token=token, card=card_message(card))
        session.expires_at.FromDatetime(expires_at)
        return session

    async def get_json_web_key_set(self, message: pb.GetJsonWebKeySetRequest, call: Call) -> pb.JsonWebKeySet:
        """The public keys that verify the bank's tokens."""
        return pb.JsonWebKeySet(json=self._keys.keyring.jwks)


def _own(call: Call) -> str | None:
    """The merchant whose transactions the caller may see; None for all."""
    return call.caller.subject if call.caller.role is Role.MERCHANT else None


def transaction_message(transaction: Transaction) -> pb.Transaction:
    """The transaction as a message."""
    message = pb.Transaction(
        id=transaction.id,
        kind=_KINDS[transaction.kind],
        status=pb.TRANSACTION_STATUS_APPROVED,
        amount_minor=transaction.amount_minor,
        currency=transaction.currency,
        merchant=transaction.merchant,
        store=transaction.store,
        description=transaction.description,
        order_id=transaction.order_id or "",
        refund_of=transaction.refund_of or "",
        refunded_minor=transaction.refunded_minor,
    )
    if transaction.decline_code is not None:
        message.status = pb.TRANSACTION_STATUS_DECLINED
        message.decline_code = _DECLINE_CODES[transaction.decline_code]
    if transaction.card is not None:
        message.card_token = transaction.card.token
        message.card_brand = transaction.card.brand
        message.card_last4 = transaction.card.last4
    since_epoch = transaction.created_at - _EPOCH
    message.created_at.seconds = since_epoch.days * 86_400 + since_epoch.seconds
    message.created_at.nanos = since_epoch.microseconds * 1000
    return message


def card_message(card: Card) -> pb.Card:
    """The card as a message."""
    return pb.Card(
        token=card.token,
        brand=card.brand,
        last4=card.last4,
        name=card.name,
        expiration_month=card.expiry.month,
        expiration_year=card.expiry.year,
        currency=card.currency,
        limit_minor=card.limit_minor,
        available_minor=card.available_minor,
        blocked=card.blocked,
    )
