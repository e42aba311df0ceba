"""The ledger's books in PostgreSQL: reads and locks what a batch touches, and writes what it decided.

A batch is one transaction of a few statements over arrays, however many requests it has. Cards are locked in the order
of their accounts, so that two banks never wait for each other in a circle; nothing else is locked, for everything else
is only ever added. Two banks that decide under the same key at once are told by the key's primary key: the second one's
batch is undone, and decided again with what the first one decided in view.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import asyncpg

from functions.bank.database import Connection
from functions.bank.keys import Keyring
from functions.bank.ledger import (
    FENCED,
    Card,
    CardFace,
    Decided,
    Ledger,
    Pages,
    Payment,
    Posting,
    Refund,
    Refundable,
    Request,
    SignIn,
    Transaction,
)
from functions.domain.card import Expiry
from functions.domain.payment import DeclineCode, TransactionKind

OUTBOX_SHARDS: Final = 16

CARD_COLUMNS: Final = """
    account_id, token, brand, last4, name, expiration_year, expiration_month, currency, limit_minor, balance_minor,
    blocked, scripted_decline, fingerprint, fingerprint_key_id, cvv_key_id, wrong_cvvs, wrong_cvv_at, locked_until
"""

_LOCK_CARDS_BY_NUMBER: Final = f"""
    select {CARD_COLUMNS} from cards where fingerprint = any($1::bytea[]) order by account_id for no key update
"""  # noqa: S608

_LOCK_CARDS: Final = f"""
    select {CARD_COLUMNS} from cards where fingerprint = any($1::bytea[]) or account_id = any($2::bigint[])
    order by account_id for no key update
"""  # noqa: S608

_KEYS: Final = """
    select transaction_id, transaction_number, digest, digest_key_id from idempotency_keys
    where transaction_id = any($1::uuid[])
"""

TRANSACTION_SELECT: Final = """
    select t.number, t.id, t.kind, t.merchant, t.card_account_id, c.token, c.brand, c.last4, t.amount_minor, t.currency,
        t.store, t.description, t.order_id, t.decline_code, p.id as refund_of, t.created_at, (
            select coalesce(sum(r.amount_minor), 0)::bigint from transactions r where r.refund_of = t.number
        ) as refunded_minor
    from transactions t
    left join cards c on c.account_id = t.card_account_id
    left join transactions p on p.number = t.refund_of
"""

_TRANSACTIONS_BY_NUMBER: Final = f"{TRANSACTION_SELECT} where t.number = any($1::bigint[])"

TRANSACTIONS_BY_ID: Final = f"""
    {TRANSACTION_SELECT}
    where t.number = any (array(
        select transaction_number from idempotency_keys where transaction_id = any($1::uuid[])
    ))
"""  # noqa: S608

# Numbers are drawn here, while the cards are locked: for each card they ascend in the order of commits. An array that is
# shorter than the others, such as an empty one, is filled up with nulls.
_POST: Final = f"""
    with posted as materialized (
        select nextval('transaction_numbers') as number, p.* from unnest(
            $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[],
            $11::text[], $12::text[], $13::bigint[], $14::bytea[], $15::text[]
        ) p (
            id, merchant, card_account_id, merchant_account_id, amount_minor, currency, store, description,
            order_id, decline_code, refund_of, digest, traceparent
        )
    ), new_transactions as (
        insert into transactions (number, id, kind, merchant, card_account_id, amount_minor, currency, store,
            description, order_id, decline_code, refund_of, created_at)
        select number, id, case when refund_of is null then 'payment' else 'refund' end, merchant, card_account_id,
            amount_minor, currency, store, description, order_id, decline_code, refund_of, $1
        from posted
    ), new_keys as (
        insert into idempotency_keys (transaction_id, transaction_number, digest, digest_key_id, created_at)
        select id, number, digest, $2, $1 from posted
    ), new_announcements as (
        insert into outbox (transaction_number, shard, traceparent, created_at)
        select number, coalesce(card_account_id, number) % {OUTBOX_SHARDS}, traceparent, $1 from posted
    )
    insert into entries (transaction_number, account_id, amount_minor)
    select number, card_account_id, case when refund_of is null then -amount_minor else amount_minor end
    from posted where decline_code is null
    union all
    select number, merchant_account_id, case when refund_of is null then amount_minor else -amount_minor end
    from posted where decline_code is null
"""  # noqa: S608

_FENCE: Final = "insert into idempotency_keys (transaction_id) select * from unnest($1::uuid[])"

_CHANGE_CARDS: Final = """
    update cards c set fingerprint = n.fingerprint, fingerprint_key_id = n.fingerprint_key_id,
        wrong_cvvs = n.wrong_cvvs, wrong_cvv_at = n.wrong_cvv_at, locked_until = n.locked_until
    from unnest($1::bigint[], $2::bytea[], $3::text[], $4::integer[], $5::timestamptz[], $6::timestamptz[])
        n (account_id, fingerprint, fingerprint_key_id, wrong_cvvs, wrong_cvv_at, locked_until)
    where c.account_id = n.account_id
"""

_MERCHANT_ACCOUNT: Final = """
    select id from accounts where kind = 'merchant' and owner = $1 and currency = $2
"""
_NEW_MERCHANT_ACCOUNT: Final = """
    insert into accounts (kind, owner, currency) values ('merchant', $1, $2) on conflict do nothing
"""


class Books:
    """The books of the bank. It remembers merchants' accounts, which never change once they are made."""

    def __init__(self) -> None:
        self._merchant_accounts: dict[tuple[str, str], int] = {}

    async def open_merchant_accounts(self, connection: Connection, requests: Iterable[Request]) -> None:
        """Makes the accounts of merchants that are new in a currency. Outside of the batch's transaction: other banks
        may be waiting for the same row."""
        for request in requests:
            if isinstance(request, Payment) and (request.merchant, request.currency) not in self._merchant_accounts:
                await connection.execute(_NEW_MERCHANT_ACCOUNT, request.merchant, request.currency)
                await self._remember_merchant_account(connection, request.merchant, request.currency)

    async def _remember_merchant_account(self, connection: Connection, merchant: str, currency: str) -> None:
        account = await connection.fetchval(_MERCHANT_ACCOUNT, merchant, currency)
        if account is not None:
            self._merchant_accounts[merchant, currency] = account

    async def read(self, connection: Connection, requests: Sequence[Request], keyring: Keyring) -> Pages:
        """Locks the cards that the requests touch, then reads what was decided under their keys."""
        pages = Pages()
        ids, payments, fingerprints = [], [], pages.fingerprints
        for request in requests:
            if isinstance(request, (Payment, SignIn)):
                fingerprints[request.proof.number] = keyring.fingerprints(request.proof.number)
            if isinstance(request, Refund):
                payments.append(request.payment_id)
            if not isinstance(request, SignIn):
                ids.append(request.id)
        looked_for = [fingerprint for each in fingerprints.values() for fingerprint in each]
        if payments:
            accounts = [row["card_account_id"] for row in await connection.fetch(TRANSACTIONS_BY_ID, payments)]
            rows = await connection.fetch(_LOCK_CARDS, looked_for, accounts)
            for row in await connection.fetch(TRANSACTIONS_BY_ID, payments):
                transaction = transaction_of(row)
                pages.refundable[transaction.id] = Refundable(transaction, row["number"], transaction.refunded_minor)
                if (transaction.merchant, transaction.currency) not in self._merchant_accounts:
                    await self._remember_merchant_account(connection, transaction.merchant, transaction.currency)
        else:
            rows = await connection.fetch(_LOCK_CARDS_BY_NUMBER, looked_for)
        pages.cards = [card_of(row) for row in rows]
        if ids:
            await self._read_keys(connection, ids, pages)
        return pages

    async def _read_keys(self, connection: Connection, ids: Sequence[str], pages: Pages) -> None:
        keys = await connection.fetch(_KEYS, ids)
        if not keys:
            return
        numbers = [key["transaction_number"] for key in keys if key["transaction_number"] is not None]
        found = {row["number"]: row for row in await connection.fetch(_TRANSACTIONS_BY_NUMBER, numbers)}
        for key in keys:
            number = key["transaction_number"]
            pages.decided[str(key["transaction_id"])] = (
                FENCED
                if number is None
                else Decided(transaction_of(found[number], first_answer=True), key["digest"], key["digest_key_id"])
            )

    async def write(self, connection: Connection, ledger: Ledger) -> None:
        """Writes what was decided. Raises asyncpg.UniqueViolationError where another bank was first under a key."""
        if ledger.fences:
            await connection.execute(_FENCE, ledger.fences)
        if ledger.changed_cards:
            await connection.execute(_CHANGE_CARDS, *_columns(map(_changes, ledger.changed_cards.values())))
        if ledger.postings:
            rows = map(self._posting_row, ledger.postings)
            await connection.execute(_POST, ledger.now, ledger.digest_key_id, *_columns(rows))

    def _posting_row(self, posting: Posting) -> tuple[object, ...]:
        transaction = posting.transaction
        return (
            transaction.id,
            transaction.merchant,
            transaction.card.account_id if transaction.card else None,
            self._merchant_accounts[transaction.merchant, transaction.currency],
            transaction.amount_minor,
            transaction.currency,
            transaction.store,
            transaction.description,
            transaction.order_id,
            transaction.decline_code,
            posting.refund_of_number,
            posting.digest,
            posting.traceparent,
        )


_NOTHING: Final = {None}


def _columns(rows: Iterable[tuple[object, ...]]) -> list[Sequence[object]]:
    """The columns of the rows. One without any value is empty: that spares the driver to look at each null."""
    return [() if column[0] is None and set(column) == _NOTHING else column for column in zip(*rows, strict=True)]


def _changes(card: Card) -> tuple[object, ...]:
    return (
        card.account_id,
        card.fingerprint,
        card.fingerprint_key_id,
        card.wrong_cvvs,
        card.wrong_cvv_at,
        card.locked_until,
    )


def card_of(row: asyncpg.Record) -> Card:
    """The card of a row with CARD_COLUMNS."""
    return Card(
        account_id=row["account_id"],
        token=str(row["token"]),
        brand=row["brand"],
        last4=row["last4"],
        name=row["name"],
        expiry=Expiry(row["expiration_year"], row["expiration_month"]),
        currency=row["currency"],
        limit_minor=row["limit_minor"],
        balance_minor=row["balance_minor"],
        blocked=row["blocked"],
        scripted_decline=DeclineCode(row["scripted_decline"]) if row["scripted_decline"] else None,
        fingerprint=row["fingerprint"],
        fingerprint_key_id=row["fingerprint_key_id"],
        cvv_key_id=row["cvv_key_id"],
        wrong_cvvs=row["wrong_cvvs"],
        wrong_cvv_at=row["wrong_cvv_at"],
        locked_until=row["locked_until"],
    )


def transaction_of(row: asyncpg.Record, *, first_answer: bool = False) -> Transaction:
    """The transaction of a row of TRANSACTION_SELECT; as it was answered first, before any refund, where asked."""
    account_id = row["card_account_id"]
    return Transaction(
        id=str(row["id"]),
        kind=TransactionKind(row["kind"]),
        merchant=row["merchant"],
        card=CardFace(account_id, str(row["token"]), row["brand"], row["last4"]) if account_id is not None else None,
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        store=row["store"],
        description=row["description"],
        order_id=row["order_id"],
        decline_code=DeclineCode(row["decline_code"]) if row["decline_code"] else None,
        refund_of=str(row["refund_of"]) if row["refund_of"] else None,
        created_at=row["created_at"],
        refunded_minor=0 if first_answer else row["refunded_minor"],
    )
