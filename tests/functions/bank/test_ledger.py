"""What the bank decides, without a database: the ledger's rules."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.bank.cards import number_of
from functions.bank.keys import Keyring, new_document, rotated_document
from functions.bank.ledger import (
    LOCK_SECONDS_MAX,
    Cancel,
    Card,
    KeyFenced,
    KeyReused,
    Ledger,
    NotRefundable,
    Pages,
    Payment,
    Refund,
    Refundable,
    SignIn,
    Transaction,
    lock_seconds,
)
from functions.domain.card import Brand, CardProof, Cvv, Expiry
from functions.domain.error import Busy, CodebankError, NotFound, Unauthenticated, Unavailable
from functions.domain.payment import DeclineCode
from tests.functions.bank.desk import payment

NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.UTC)
GOOD = Expiry(2031, 1)


def keyring_of(document: dict[str, Any]) -> Keyring:
    """The keys of a key file's content."""
    return Keyring.read(json.dumps(document))


DOCUMENT = new_document(NOW - dt.timedelta(days=1))
KEYS = keyring_of(DOCUMENT)


def proof_of(index: int = 1, expiry: Expiry = GOOD, keys: Keyring = KEYS) -> CardProof:
    """The right proof of a card."""
    number = number_of(Brand.VISA, index)
    return CardProof("Ana", number, expiry, keys.cvv_of(number, expiry, keys.cvv[0].id))


def card_of(proof: CardProof, keys: Keyring = KEYS, **changes: Any) -> Card:
    """The card of the proof, as the books have it."""
    card = Card(
        account_id=int(proof.number.reveal()[-6:]),
        token=str(uuid.uuid4()),
        brand="visa",
        last4=proof.number.last4,
        name="Ana",
        expiry=proof.expiry,
        currency="BRL",
        limit_minor=1000,
        balance_minor=0,
        blocked=False,
        scripted_decline=None,
        fingerprint=keys.fingerprints(proof.number)[0],
        fingerprint_key_id=keys.fingerprint[0].id,
        cvv_key_id=keys.cvv[0].id,
        wrong_cvvs=0,
        wrong_cvv_at=None,
        locked_until=None,
    )
    return replace(card, **changes)


def ledger_of(*cards: Card, now: dt.datetime = NOW, keys: Keyring = KEYS, **pages: Any) -> Ledger:
    """A ledger that knows these cards, and the fingerprints of the first ten numbers."""
    numbers = [number_of(Brand.VISA, index) for index in range(10)]
    fingerprints = {number: keys.fingerprints(number) for number in numbers}
    return Ledger(Pages(cards=list(cards), fingerprints=fingerprints, **pages), keys, now)


def wrong(proof: CardProof) -> CardProof:
    """The proof with another CVV."""
    digits = proof.cvv.reveal()
    return replace(proof, cvv=Cvv(str(9 - int(digits[0])) + digits[1:]))


def test_what_is_left_can_be_spent_to_the_last_unit_and_not_beyond() -> None:
    proof = proof_of()
    ledger = ledger_of(card_of(proof))
    assert ledger.pay(payment(proof, 999)).decline_code is None
    assert ledger.pay(payment(proof, 2)).decline_code is DeclineCode.INSUFFICIENT_FUNDS
    assert ledger.pay(payment(proof, 1)).decline_code is None
    assert ledger.pay(payment(proof, 1)).decline_code is DeclineCode.INSUFFICIENT_FUNDS
    assert len(ledger.postings) == 4


@given(st.lists(st.integers(1, 600), max_size=30))
def test_no_sequence_of_payments_takes_a_card_past_its_limit(amounts: list[int]) -> None:
    proof = proof_of()
    card = card_of(proof)
    ledger = ledger_of(card)
    decided = [ledger.pay(payment(proof, amount)) for amount in amounts]
    spent = sum(transaction.amount_minor for transaction in decided if transaction.decline_code is None)
    assert spent == -card.balance_minor <= card.limit_minor


EVERYTHING_WRONG: dict[str, Any] = {
    "blocked": True,
    "scripted_decline": DeclineCode.CARD_LOCKED,
    "currency": "USD",
    "limit_minor": 0,
}


@pytest.mark.parametrize(
    ("changes", "expiry", "right", "decline_code"),
    [
        (EVERYTHING_WRONG | {"locked_until": NOW + dt.timedelta(seconds=1)}, Expiry(2030, 5), False, "card_locked"),
        (EVERYTHING_WRONG | {"locked_until": NOW + dt.timedelta(seconds=1)}, Expiry(2030, 5), True, "card_locked"),
        (EVERYTHING_WRONG, Expiry(2030, 5), False, "incorrect_cvc"),
        (EVERYTHING_WRONG, Expiry(2030, 5), True, "card_blocked"),
        (EVERYTHING_WRONG | {"blocked": False}, Expiry(2030, 5), True, "expired_card"),
        (EVERYTHING_WRONG | {"blocked": False}, GOOD, True, "card_locked"),
        ({"currency": "USD", "limit_minor": 0}, GOOD, True, "currency_mismatch"),
        ({"limit_minor": 0}, GOOD, True, "insufficient_funds"),
        ({"locked_until": NOW}, GOOD, True, None),
        ({}, Expiry(2030, 6), True, None),
    ],
)
def test_checks_come_in_an_order_that_tells_nothing_without_the_proof(
    changes: dict[str, Any], expiry: Expiry, right: bool, decline_code: str | None
) -> None:
    proof = proof_of(expiry=expiry)
    ledger = ledger_of(card_of(proof, **changes))
    assert ledger.pay(payment(proof if right else wrong(proof))).decline_code == decline_code


def test_another_expiry_is_a_wrong_proof_and_counts_as_a_guess() -> None:
    proof = proof_of()
    card = card_of(proof)
    other = proof_of(expiry=Expiry(2032, 1))
    assert ledger_of(card).pay(payment(other)).decline_code is DeclineCode.INCORRECT_CVC
    assert card.wrong_cvvs == 1


def test_the_name_is_not_part_of_the_proof() -> None:
    proof = proof_of()
    assert ledger_of(card_of(proof)).pay(payment(replace(proof, name="A. LIMA"))).decline_code is None


def test_locks_grow_and_wrong_guesses_are_forgotten_after_a_day_only() -> None:
    proof = proof_of()
    card, now, locks = card_of(proof), NOW, []
    for _ in range(14):
        if card.locked_until and card.locked_until > now:
            now = card.locked_until
        assert ledger_of(card, now=now).pay(payment(wrong(proof))).decline_code is DeclineCode.INCORRECT_CVC
        if card.locked_until and card.locked_until > now:
            locks.append(int((card.locked_until - now).total_seconds()))
        # A right proof while unlocked does not help who guesses.
        if not card.locked_until:
            assert ledger_of(card, now=now).pay(payment(proof)).decline_code is None
    assert locks[:4] == [60, 120, 240, 480]
    assert locks[-1] == LOCK_SECONDS_MAX
    assert card.locked_until is not None
    later = card.locked_until + dt.timedelta(days=1)
    ledger_of(card, now=later).pay(payment(wrong(proof)))
    assert card.wrong_cvvs == 1
    assert ledger_of(card, now=later).pay(payment(proof)).decline_code is None


def test_guessing_is_bounded() -> None:
    days = 0.0
    guesses = 0
    while guesses < 500:  # Half of the values that three digits have.
        guesses += 1
        days += lock_seconds(guesses) / 86_400
    assert days > 365


def test_a_guess_during_a_lock_neither_counts_nor_extends_it() -> None:
    proof = proof_of()
    card = card_of(proof, wrong_cvvs=3, wrong_cvv_at=NOW, locked_until=NOW + dt.timedelta(seconds=60))
    ledger = ledger_of(card)
    for guess in (wrong(proof), proof):
        assert ledger.pay(payment(guess)).decline_code is DeclineCode.CARD_LOCKED
        with pytest.raises(Busy) as busy:
            ledger.sign_in(SignIn(guess, None))
        assert busy.value.retry_after_seconds == 60
    assert (card.wrong_cvvs, ledger.changed_cards) == (3, {})


def test_an_unknown_card_is_declined_and_its_transaction_names_no_card() -> None:
    transaction = ledger_of().pay(payment(proof_of()))
    assert (transaction.decline_code, transaction.card) == (DeclineCode.UNKNOWN_CARD, None)
    with pytest.raises(Unauthenticated):
        ledger_of().sign_in(SignIn(proof_of(), None))


@pytest.mark.parametrize("code", DeclineCode)
def test_a_scripted_card_is_declined_with_its_code_and_counts_no_guess(code: DeclineCode) -> None:
    proof = proof_of()
    card = card_of(proof, scripted_decline=code)
    transaction = ledger_of(card).pay(payment(proof, 1))
    assert transaction.decline_code is code
    assert (transaction.card is None) is (code is DeclineCode.UNKNOWN_CARD)
    assert (card.wrong_cvvs, card.balance_minor) == (0, 0)


def test_a_blocked_or_expired_cards_holder_may_sign_in() -> None:
    proof = proof_of(expiry=Expiry(2030, 1))
    card = card_of(proof, blocked=True)
    assert ledger_of(card).sign_in(SignIn(proof, None)) is card


def test_a_key_gives_one_answer_within_a_batch_too() -> None:
    proof = proof_of()
    card = card_of(proof)
    ledger = ledger_of(card)
    request = payment(proof, 100)
    first = ledger.pay(request)
    assert ledger.pay(replace(request)) is first
    assert len(ledger.postings) == 1
    assert card.balance_minor == -100
    for other in (
        replace(request, amount_minor=101),
        replace(request, proof=proof_of(2)),
        replace(request, currency="USD"),
        replace(request, store="x"),
        replace(request, description="x"),
        replace(request, order_id="x"),
    ):
        with pytest.raises(KeyReused):
            ledger.pay(other)
    with pytest.raises(KeyReused):
        ledger.refund(Refund(request.id, "shop", first.id, 0, None, None))
    assert ledger.cancel(Cancel(request.id, "shop", None)) is first


def test_a_fenced_key_stays_fenced() -> None:
    ledger = ledger_of(card_of(proof_of()))
    request = payment(proof_of())
    assert ledger.cancel(Cancel(request.id, "shop", None)) is None
    assert ledger.cancel(Cancel(request.id, "shop", None)) is None
    assert ledger.fences == [request.id]
    with pytest.raises(KeyFenced):
        ledger.pay(request)
    assert ledger.postings == []


def paid(card: Card, amount_minor: int) -> Transaction:
    """A payment that was approved before."""
    return ledger_of(card).pay(payment(proof_of(), amount_minor))


@given(st.lists(st.integers(0, 400), max_size=20))
def test_no_sequence_of_refunds_gives_back_more_than_was_paid(amounts: list[int]) -> None:
    card = card_of(proof_of())
    transaction = paid(card, 1000)
    ledger = ledger_of(card, refundable={transaction.id: Refundable(transaction, 1, 0)})
    refunds = [ledger.decide(Refund(str(uuid.uuid4()), "shop", transaction.id, each, None, None)) for each in amounts]
    back = sum(refund.amount_minor for refund in refunds if isinstance(refund, Transaction))
    assert back <= 1000
    assert card.balance_minor == back - 1000
    assert all(isinstance(refund, (Transaction, NotRefundable)) for refund in refunds)


def test_only_ones_own_approved_payments_are_refunded() -> None:
    card = card_of(proof_of())
    transaction = paid(card, 10)
    declined = replace(transaction, decline_code=DeclineCode.CARD_BLOCKED)
    refund = Refund(str(uuid.uuid4()), "shop", transaction.id, 0, None, None)
    for refundable, error in (
        ({}, NotFound),
        ({transaction.id: Refundable(replace(transaction, merchant="other"), 1, 0)}, NotFound),
        ({transaction.id: Refundable(declined, 1, 0)}, NotRefundable),
    ):
        outcome = ledger_of(card, refundable=refundable).decide(refund)
        assert isinstance(outcome, error)


def test_a_refused_request_leaves_no_trace_on_the_others_of_its_batch() -> None:
    proof = proof_of()
    card = card_of(proof)
    fenced = payment(proof)
    requests: list[Payment | Cancel | SignIn] = [
        payment(proof, 100),
        Cancel(fenced.id, "shop", None),
        fenced,
        SignIn(proof_of(2), None),
        payment(proof, 900),
    ]
    ledger = ledger_of(card)
    outcomes = [ledger.decide(request) for request in requests]
    assert [isinstance(outcome, CodebankError) for outcome in outcomes] == [False, False, True, True, False]
    assert card.balance_minor == -1000


def test_a_card_is_rekeyed_when_it_is_seen_under_an_older_key() -> None:
    rotated = keyring_of(rotated_document(DOCUMENT, NOW - dt.timedelta(seconds=1)))
    proof = proof_of()
    card = card_of(proof)
    ledger = ledger_of(card, keys=rotated)
    assert ledger.pay(payment(proof, 10)).decline_code is None
    assert card.fingerprint == rotated.fingerprint[1].digest("card", proof.number.reveal())
    assert ledger.changed_cards == {card.account_id: card}
    again = ledger_of(card, keys=rotated)
    assert again.pay(payment(proof, 10)).decline_code is None
    assert again.changed_cards == {}


def test_a_key_that_is_not_active_yet_is_known_but_not_used() -> None:
    rotated = keyring_of(rotated_document(DOCUMENT, NOW + dt.timedelta(seconds=60)))
    proof = proof_of()
    card = card_of(proof)
    ledger = ledger_of(card, keys=rotated)
    assert ledger.pay(payment(proof, 10)).decline_code is None
    assert ledger.changed_cards == {}
    assert ledger.digest_key_id == rotated.fingerprint[0].id
    rekeyed = card_of(proof, fingerprint=rotated.fingerprints(proof.number)[1], fingerprint_key_id="by another bank")
    assert ledger_of(rekeyed, keys=rotated).pay(payment(proof, 10)).decline_code is None


def test_a_card_of_an_unknown_cvv_key_is_a_fault_of_the_bank_and_not_of_the_card() -> None:
    proof = proof_of()
    card = card_of(proof, cvv_key_id="lost")
    assert isinstance(ledger_of(card).decide(payment(proof)), Unavailable)
    assert card.wrong_cvvs == 0
