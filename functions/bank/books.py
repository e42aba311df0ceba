"""The ledger's books in PostgreSQL: what a batch touches is read, what it decided is written, a statement each.

A batch is read without locks, decided, and written by one statement that locks its cards, checks that none of them has
changed since it was read (its row version, xmin, is the same), and does nothing otherwise. A batch that comes too late
in this way, another bank being quicker on one of its cards, is decided again with its cards locked from the start.

Cards are locked in the order of their accounts, so that two banks never wait for each other in a circle; nothing else
is locked, for everything else is only ever added. Two banks that decide under the same idempotency key at once are told
by its primary key: the second one's batch is undone, and decided again with what the first one decided in view.
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

_LOCK: Final = """
    select from cards where fingerprint = any($1::bytea[]) or account_id = any($2::bigint[])
    order by account_id for no key update
"""

# One round trip for both: rows of keys have no card, rows of cards no key.
_READ: Final = f"""
    select transaction_id, transaction_number, digest, digest_key_id, null as version,
        {", ".join(f"null as {column.strip()}" for column in CARD_COLUMNS.split(","))}
    from idempotency_keys where transaction_id = any($3::uuid[])
    union all
    select null, null, null, null, xmin, {CARD_COLUMNS}
    from cards where fingerprint = any($1::bytea[]) or account_id = any($2::bigint[])
"""  # noqa: S608

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

# Everything hangs on `unchanged`, which has locked the cards once it is known. So the numbers are drawn while the cards
# are locked: for each card they ascend in the order of commits. An array that is shorter than the others, such as an
# empty one, is filled up with nulls.
_WRITE: Final = f"""
    with locked as (
        select from cards c join unnest($1::bigint[], $2::xid[]) r (account_id, version)
            on c.account_id = r.account_id and c.xmin = r.version
        order by c.account_id for no key update of c
    ), unchanged as materialized (
        select count(*) = cardinality($1) as yes from locked
    ), posted as materialized (
        select nextval('transaction_numbers') as number, p.* from unnest(
            $5::uuid[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[],
            $13::text[], $14::text[], $15::bigint[], $16::bytea[], $17::text[]
        ) p (
            id, merchant, card_account_id, merchant_account_id, amount_minor, currency, store, description,
            order_id, decline_code, refund_of, digest, traceparent
        ) where (select yes from unchanged)
    ), new_transactions as (
        insert into transactions (number, id, kind, merchant, card_account_id, amount_minor, currency, store,
            description, order_id, decline_code, refund_of, created_at)
        select number, id, case when refund_of is null then 'payment' else 'refund' end, merchant, card_account_id,
            amount_minor, currency, store, description, order_id, decline_code, refund_of, $3
        from posted
    ), new_entries as (
        insert into entries (transaction_number, account_id, amount_minor)
        select number, card_account_id, case when refund_of is null then -amount_minor else amount_minor end
        from posted where decline_code is null
        union all
        select number, merchant_account_id, case when refund_of is null then amount_minor else -amount_minor end
        from posted where decline_code is null
    ), new_keys as (
        insert into idempotency_keys (transaction_id, transaction_number, digest, digest_key_id, created_at)
        select id, number, digest, $4, $3 from posted
        union all
        select f.id, null, null, null, $3 from unnest($18::uuid[]) f (id) where (select yes from unchanged)
    ), new_announcements as (
        insert into outbox (transaction_number, shard, traceparent, created_at)
        select number, coalesce(card_account_id, number) % {OUTBOX_SHARDS}, traceparent, $3 from posted
    ), changed_cards as (
        update cards c set fingerprint = n.fingerprint, fingerprint_key_id = n.fingerprint_key_id,
            wrong_cvvs = n.wrong_cvvs, wrong_cvv_at = n.wrong_cvv_at, locked_until = n.locked_until
        from unnest($19::bigint[], $20::bytea[], $21::text[], $22::integer[], $23::timestamptz[], $24::timestamptz[])
            n (account_id, fingerprint, fingerprint_key_id, wrong_cvvs, wrong_cvv_at, locked_until)
        where c.account_id = n.account_id and (select yes from unchanged)
    )
    select yes from unchanged
"""  # noqa: S608

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

    async def read(
        self, connection: Connection, requests: Sequence[Request], keyring: Keyring, *, locking: bool
    ) -> Pages:
        """Reads the cards that the requests touch, locked where asked, and what was decided under their keys."""
        pages = Pages()
        ids: list[str] = []
        payments: list[str] = []
        for request in requests:
            if isinstance(request, (Payment, SignIn)):
                number = request.proof.number
                pages.fingerprints[number] = keyring.fingerprints(number)
            if isinstance(request, Refund):
                payments.append(request.payment_id)
            if not isinstance(request, SignIn):
                ids.append(request.id)
        fingerprints = [fingerprint for each in pages.fingerprints.values() for fingerprint in each]
        accounts: list[int] = []
        if payments:
            rows = await connection.fetch(TRANSACTIONS_BY_ID, payments)
            accounts = [row["card_account_id"] for row in rows if row["card_account_id"] is not None]
        if locking:
            await connection.execute(_LOCK, fingerprints, accounts)
        keys: list[asyncpg.Record] = []
        for row in await connection.fetch(_READ, fingerprints, accounts, ids):
            if row["account_id"] is None:
                keys.append(row)
            else:
                pages.cards.append(card_of(row))
                pages.versions[row["account_id"]] = row["version"]
        if keys:
            await self._read_decided(connection, keys, pages)
        if payments:
            await self._read_refundable(connection, payments, pages)
        return pages

    async def _read_decided(self, connection: Connection, keys: Sequence[asyncpg.Record], pages: Pages) -> None:
        numbers = [key["transaction_number"] for key in keys if key["transaction_number"] is not None]
        found = {row["number"]: row for row in await connection.fetch(_TRANSACTIONS_BY_NUMBER, numbers)}
        for key in keys:
            number = key["transaction_number"]
            pages.decided[str(key["transaction_id"])] = (
                FENCED
                if number is None
                else Decided(transaction_of(found[number], first_answer=True), key["digest"], key["digest_key_id"])
            )

    async def _read_refundable(self, connection: Connection, payments: Sequence[str], pages: Pages) -> None:
        """Reads the payments after their cards: a refund since then has changed the card, and is found out by that."""
        for row in await connection.fetch(TRANSACTIONS_BY_ID, payments):
            transaction = transaction_of(row)
            pages.refundable[transaction.id] = Refundable(transaction, row["number"], transaction.refunded_minor)
            if (transaction.merchant, transaction.currency) not in self._merchant_accounts:
                await self._remember_merchant_account(connection, transaction.merchant, transaction.currency)

    async def write(self, connection: Connection, pages: Pages, ledger: Ledger) -> bool:
        """Writes what was decided; False where a card has changed since it was read, and nothing was written.

        Raises asyncpg.UniqueViolationError where another bank was first under a key.
        """
        written: bool = await connection.fetchval(
            _WRITE,
            list(pages.versions.keys()),
            list(pages.versions.values()),
            ledger.now,
            ledger.digest_key_id,
            *_columns(POSTING_COLUMNS, map(self._posting_row, ledger.postings)),
            ledger.fences,
            *_columns(CHANGE_COLUMNS, map(_changes, ledger.changed_cards.values())),
        )
        return written

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


POSTING_COLUMNS: Final = 13
CHANGE_COLUMNS: Final = 6
_NOTHING: Final = {None}


def _columns(count: int, rows: Iterable[tuple[object, ...]]) -> Sequence[Sequence[object]]:
    """The columns of the rows. One without any value is empty: that spares the driver to look at each null."""
    columns: list[Sequence[object]] = [
        () if column[0] is None and set(column) == _NOTHING else column for column in zip(*rows, strict=True)
    ]
    return columns or [()] * count


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
