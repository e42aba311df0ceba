"""What the bank decides: a batch of requests, one after the other, against the cards and keys that they touch.

Pure decisions: the pages were read before (functions/bank/books.py), and what was decided is written after, or not at
all where a card has changed in between. Each request sees what the ones before it in the batch have done, and one that
is refused leaves no trace on the others.

A payment needs the proof of a card: its number, and the expiry and CVV that belong to it. The holder's name is not part
of the proof: people write it in many ways, and banks that compared it would decline honest payments. The checks come in
an order in which nobody learns a card's state without its proof:

    known number, not locked, right expiry and CVV, not blocked, not expired, right currency, enough left
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from functions.bank.keys import Keyring, UnknownKey
from functions.domain.card import CardNumber, CardProof, Expiry
from functions.domain.error import Busy, CodebankError, Conflict, NotFound, Unauthenticated, Unavailable
from functions.domain.payment import DeclineCode, TransactionKind

WRONG_CVVS_FREE: Final = 2
"""How many wrong CVVs a card takes before it is locked."""

LOCK_SECONDS_FIRST: Final = 60
LOCK_SECONDS_MAX: Final = 24 * 60 * 60
WRONG_CVVS_FORGOTTEN_AFTER: Final = dt.timedelta(days=1)
"""Wrong guesses are forgotten a day after the last one, and by nothing else: a right CVV in between does not help who
guesses beside the holder's own payments."""


class KeyReused(Conflict):
    """The idempotency key stands for another request."""


class KeyFenced(Conflict):
    """The idempotency key was cancelled: nothing will ever be decided under it."""


class NotRefundable(Conflict):
    """The refund is more than is left of the payment, or the payment was declined."""


@dataclass(slots=True)
class Card:
    """A card as the books have it, and as the batch changes it. Amounts in minor units; the balance is zero or less."""

    account_id: int
    token: str
    brand: str
    last4: str
    name: str
    expiry: Expiry
    currency: str
    limit_minor: int
    balance_minor: int
    blocked: bool
    scripted_decline: DeclineCode | None
    fingerprint: bytes
    fingerprint_key_id: str
    cvv_key_id: str
    wrong_cvvs: int
    wrong_cvv_at: dt.datetime | None
    locked_until: dt.datetime | None

    @property
    def available_minor(self) -> int:
        """How much can be spent."""
        return self.limit_minor + self.balance_minor


@dataclass(frozen=True, slots=True)
class CardFace:
    """The card of a transaction, as far as others may know it."""

    account_id: int
    token: str
    brand: str
    last4: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """What the bank decided once and for all. refunded_minor is what was given back when this was read."""

    id: str
    kind: TransactionKind
    merchant: str
    card: CardFace | None
    amount_minor: int
    currency: str
    store: str
    description: str
    order_id: str | None
    decline_code: DeclineCode | None
    refund_of: str | None
    created_at: dt.datetime
    refunded_minor: int = 0


@dataclass(slots=True)
class Payment:
    """A request to charge a card. deadline is by the event loop's clock; traceparent is the call's."""

    id: str
    merchant: str
    proof: CardProof
    amount_minor: int
    currency: str
    store: str
    description: str
    order_id: str | None
    deadline: float | None
    traceparent: str | None

    def digest(self, keyring: Keyring, key_id: str) -> bytes:
        """What makes this request another one under the same key.

        Expiry and CVV are left out: whoever repeats a key with other ones would learn from the answer whether they are
        right, as often as they like.
        """
        return keyring.fingerprint_key_by_id(key_id).digest(
            "pay",
            self.proof.number.reveal(),
            self.proof.name,
            str(self.amount_minor),
            self.currency,
            self.store,
            self.description,
            self.order_id or "",
        )


@dataclass(slots=True)
class Refund:
    """A request to give back all (amount_minor 0: what is left) or part of a payment."""

    id: str
    merchant: str
    payment_id: str
    amount_minor: int
    deadline: float | None
    traceparent: str | None

    def digest(self, keyring: Keyring, key_id: str) -> bytes:
        """What makes this request another one under the same key."""
        return keyring.fingerprint_key_by_id(key_id).digest("refund", self.payment_id, str(self.amount_minor))


@dataclass(slots=True)
class Cancel:
    """A request to say what was decided under a key, or to fence it."""

    id: str
    merchant: str
    deadline: float | None


@dataclass(slots=True)
class SignIn:
    """A request to prove the possession of a card."""

    proof: CardProof
    deadline: float | None


Keyed = Payment | Refund | Cancel
Request = Payment | Refund | Cancel | SignIn


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided under a key before; no transaction where the key is fenced."""

    transaction: Transaction | None
    digest: bytes
    digest_key_id: str


FENCED: Final = Decided(None, b"", "")


@dataclass(slots=True)
class Refundable:
    """A payment that a refund names, its number, and what was given back so far."""

    transaction: Transaction
    number: int
    refunded_minor: int


@dataclass(slots=True)
class Pages:
    """What a batch touches.

    versions has each card's row version, by its account; fingerprints has each card number's fingerprints under all
    keys; decided is by the id that derives from the key, refundable by the payment's id.
    """

    fingerprints: dict[CardNumber, list[bytes]] = field(default_factory=dict)
    cards: list[Card] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    decided: dict[str, Decided] = field(default_factory=dict)
    refundable: dict[str, Refundable] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Posting:
    """One new transaction, and what has to be remembered beside it."""

    transaction: Transaction
    digest: bytes
    traceparent: str | None
    refund_of_number: int | None


class Ledger:
    """The decisions of one batch, all at the moment `now`.

    Afterwards `postings` (digested with the key digest_key_id), `fences` and `changed_cards` are what is to be written.
    """

    def __init__(self, pages: Pages, keyring: Keyring, now: dt.datetime) -> None:
        self._fingerprints = pages.fingerprints
        self._by_fingerprint = {card.fingerprint: card for card in pages.cards}
        self._by_account = {card.account_id: card for card in pages.cards}
        self._decided = pages.decided
        self._refundable = pages.refundable
        self._keyring = keyring
        self._fingerprint_key = keyring.fingerprint_key(now)
        self.now = now
        self.digest_key_id = self._fingerprint_key.id
        self.postings: list[Posting] = []
        self.fences: list[str] = []
        self.changed_cards: dict[int, Card] = {}

    def pay(self, request: Payment) -> Transaction:
        """Charges the card, or declines; either way it is decided. Raises KeyReused, KeyFenced."""
        before = self._decided_before(request)
        if before is not None:
            return before
        card = self._card(request.proof.number)
        decline_code = self._judge(card, request)
        if card is not None and decline_code is None:
            card.balance_minor -= request.amount_minor
        shown = card if decline_code is not DeclineCode.UNKNOWN_CARD else None
        transaction = Transaction(
            request.id,
            TransactionKind.PAYMENT,
            request.merchant,
            CardFace(shown.account_id, shown.token, shown.brand, shown.last4) if shown else None,
            request.amount_minor,
            request.currency,
            request.store,
            request.description,
            request.order_id,
            decline_code,
            None,
            self.now,
        )
        self._post(request, transaction)
        return transaction

    def refund(self, request: Refund) -> Transaction:
        """Gives back to the card. Raises KeyReused, KeyFenced, NotFound, NotRefundable."""
        before = self._decided_before(request)
        if before is not None:
            return before
        found = self._refundable.get(request.payment_id)
        if found is None or found.transaction.merchant != request.merchant:
            raise NotFound("there is no such payment")
        payment = found.transaction
        if payment.kind is not TransactionKind.PAYMENT or payment.decline_code is not None or payment.card is None:
            raise NotRefundable("only an approved payment can be refunded")
        left_minor = payment.amount_minor - found.refunded_minor
        amount_minor = request.amount_minor or left_minor
        if not 0 < amount_minor <= left_minor:
            raise NotRefundable(f"{left_minor} minor units of the payment are left to be refunded")
        found.refunded_minor += amount_minor
        self._by_account[payment.card.account_id].balance_minor += amount_minor
        transaction = Transaction(
            request.id,
            TransactionKind.REFUND,
            request.merchant,
            payment.card,
            amount_minor,
            payment.currency,
            payment.store,
            payment.description,
            payment.order_id,
            None,
            payment.id,
            self.now,
        )
        self._post(request, transaction, found.number)
        return transaction

    def cancel(self, request: Cancel) -> Transaction | None:
        """What was decided under the key; None where it is fenced now."""
        before = self._decided.get(request.id)
        if before is None:
            before = self._decided[request.id] = FENCED
            self.fences.append(request.id)
        return before.transaction

    def sign_in(self, request: SignIn) -> Card:
        """The card whose proof this is. Raises Unauthenticated, Busy while the card is locked.

        A blocked or expired card cannot pay, but its holder may see what it paid.
        """
        card = self._card(request.proof.number)
        decline_code = self._proof_fault(card, request.proof)
        if card is not None and decline_code is DeclineCode.CARD_LOCKED:
            wait_seconds = self._lock_seconds_left(card) or LOCK_SECONDS_FIRST
            raise Busy("the card is locked for a while after wrong attempts", math.ceil(wait_seconds))
        if card is None or decline_code is not None:
            raise Unauthenticated("this is not a card of this bank, as it is written")
        return card

    @property
    def decided_anything(self) -> bool:
        """Whether there is something to write."""
        return bool(self.postings or self.fences or self.changed_cards)

    def decide(self, request: Request) -> Transaction | Card | CodebankError | None:
        """The outcome of the request, or the error that its caller gets."""
        try:
            return self._decisions[type(request)](self, request)
        except CodebankError as error:
            return error
        except UnknownKey as error:
            return Unavailable(f"the key {error} is not known here yet")

    _decisions: Final[dict[type[Request], Callable[..., Transaction | Card | None]]] = {
        Payment: pay,
        Refund: refund,
        Cancel: cancel,
        SignIn: sign_in,
    }

    def _decided_before(self, request: Payment | Refund) -> Transaction | None:
        before = self._decided.get(request.id)
        if before is None:
            return None
        if before.transaction is None:
            raise KeyFenced("the idempotency key was cancelled; nothing is done under it")
        if before.digest != request.digest(self._keyring, before.digest_key_id):
            raise KeyReused("the idempotency key stands for another request")
        return before.transaction

    def _post(self, request: Payment | Refund, transaction: Transaction, refund_of_number: int | None = None) -> None:
        digest = request.digest(self._keyring, self.digest_key_id)
        posting = Posting(transaction, digest, request.traceparent, refund_of_number)
        self.postings.append(posting)
        self._decided[request.id] = Decided(transaction, digest, self.digest_key_id)

    def _card(self, number: CardNumber) -> Card | None:
        """The card of the number; it is re-keyed where it was last seen under an older key."""
        fingerprints = self._fingerprints[number]
        for fingerprint in fingerprints:
            card = self._by_fingerprint.get(fingerprint)
            if card is not None:
                if card.fingerprint_key_id != self._fingerprint_key.id:
                    self._rekey(card, fingerprints)
                return card
        return None

    def _rekey(self, card: Card, fingerprints: Sequence[bytes]) -> None:
        position = self._keyring.fingerprint.index(self._fingerprint_key)
        card.fingerprint, card.fingerprint_key_id = fingerprints[position], self._fingerprint_key.id
        self._by_fingerprint[card.fingerprint] = card
        self.changed_cards[card.account_id] = card

    def _judge(self, card: Card | None, request: Payment) -> DeclineCode | None:
        fault = self._proof_fault(card, request.proof)
        if card is None or fault is not None:
            return fault
        if card.blocked:
            fault = DeclineCode.CARD_BLOCKED
        elif card.expiry.has_passed(self.now):
            fault = DeclineCode.EXPIRED_CARD
        elif card.scripted_decline is not None:
            fault = card.scripted_decline
        elif card.currency != request.currency:
            fault = DeclineCode.CURRENCY_MISMATCH
        elif request.amount_minor > card.available_minor:
            fault = DeclineCode.INSUFFICIENT_FUNDS
        return fault

    def _proof_fault(self, card: Card | None, proof: CardProof) -> DeclineCode | None:
        """Counts a wrong proof, and locks the card after too many.

        The CVV is computed and compared in every case, also for unknown and locked cards, so that the time it takes
        tells nothing.
        """
        key_id = card.cvv_key_id if card else self._keyring.cvv[0].id
        right_cvv = self._keyring.cvv_of(proof.number, card.expiry if card else proof.expiry, key_id)
        right = (right_cvv == proof.cvv) & (card is not None and card.expiry == proof.expiry)
        if card is None:
            return DeclineCode.UNKNOWN_CARD
        if self._lock_seconds_left(card) > 0:
            return DeclineCode.CARD_LOCKED
        if not right:
            self._count_wrong(card)
            return DeclineCode.INCORRECT_CVC
        return None

    def _lock_seconds_left(self, card: Card) -> float:
        return (card.locked_until - self.now).total_seconds() if card.locked_until else 0.0

    def _count_wrong(self, card: Card) -> None:
        if card.wrong_cvv_at is not None and card.wrong_cvv_at + WRONG_CVVS_FORGOTTEN_AFTER <= self.now:
            card.wrong_cvvs = 0
        card.wrong_cvvs += 1
        card.wrong_cvv_at = self.now
        locks = card.wrong_cvvs - WRONG_CVVS_FREE
        if locks > 0:
            card.locked_until = self.now + dt.timedelta(seconds=lock_seconds(locks))
        self.changed_cards[card.account_id] = card


def lock_seconds(locks: int) -> int:
    """How long the card is locked for the time that this is: twice as long each time, up to a day."""
    return min(LOCK_SECONDS_FIRST << min(locks - 1, 20), LOCK_SECONDS_MAX)
