"""What the database itself refuses, whatever the code does."""

from __future__ import annotations

import asyncpg
import pytest

from functions.bank import audit
from functions.bank.database import Connection
from protos.codebank.bank.v1 import bank_pb2 as pb
from tests.functions.bank.desk import Desk, fresh_key

pytestmark = pytest.mark.anyio

TRANSACTION = """
    insert into transactions (number, id, kind, merchant, card_account_id, amount_minor, currency, store, description,
        decline_code, refund_of, created_at)
    values ({number}, gen_random_uuid(), '{kind}', '{merchant}', {card}, {amount}, '{currency}', '', '',
        {decline_code}, {refund_of}, now())
"""


async def refused(desk: Desk, statement: str, *fragments: str) -> None:
    """Fails unless the database refuses the statement, in words that hold the fragments, and nothing has changed."""
    before = await snapshot(desk)
    with pytest.raises((asyncpg.IntegrityConstraintViolationError, asyncpg.RestrictViolationError)) as error:
        await desk.fetch(statement)
    assert all(fragment in str(error.value) for fragment in fragments), error.value
    assert await snapshot(desk) == before


async def snapshot(desk: Desk) -> list[object]:
    """All that the ledger holds."""
    tables = ("accounts", "cards", "transactions", "entries", "idempotency_keys")
    return [[row["t"] for row in await desk.fetch(f"select t::text from {table} t order by 1")] for table in tables]


@pytest.fixture
async def ledger(desk: Desk) -> Desk:
    """A ledger with a payment of 600 on a card of 1000, a declined one, and a refund of 100."""
    proof, _ = await desk.issue(limit_minor=1000)
    paid = await desk.merchant.pay(proof, 600)
    await desk.merchant.pay(proof, 5000)
    refund = pb.RefundRequest(idempotency_key=fresh_key(), transaction_id=paid.id, amount_minor=100)
    await desk.merchant.call("Refund", refund)
    return desk


@pytest.mark.parametrize("table", ["accounts", "transactions", "entries", "idempotency_keys"])
async def test_what_is_posted_is_neither_changed_nor_deleted(ledger: Desk, table: str) -> None:
    columns = {"accounts": "owner = 'x'", "transactions": "amount_minor = 1", "entries": "amount_minor = 1"}
    change = columns.get(table, "digest = null")
    for statement in (f"update {table} set {change}", f"delete from {table}", f"truncate {table} cascade"):
        await refused(ledger, statement, "append-only")


async def test_cards_are_not_deleted(ledger: Desk) -> None:
    await refused(ledger, "delete from cards", "append-only")


async def test_a_balance_moves_only_by_entries(ledger: Desk) -> None:
    await refused(ledger, "update cards set balance_minor = 0", "only by entries")
    columns = "account_id, currency, token, brand, last4, name, expiration_year, expiration_month, limit_minor"
    await refused(
        ledger,
        f"""
        with a as (insert into accounts (kind, owner, currency) values ('card', 'x', 'BRL') returning id)
        insert into cards ({columns}, balance_minor, fingerprint, fingerprint_key_id, cvv_key_id)
        select id, 'BRL', gen_random_uuid(), 'visa', '1111', 'x', 2039, 1, 10, -5, 'x', 'k', 'k' from a
        """,
        "only by entries",
    )


@pytest.mark.parametrize(
    "entries",
    [
        "(1, (select account_id from cards), -5)",
        "(1, (select account_id from cards), -5), (1, (select id from accounts where kind = 'merchant'), 6)",
        "(1, (select account_id from cards), 0)",
        "(1, 999999, -5), (1, (select id from accounts where kind = 'merchant'), 5)",
        "(999999, (select account_id from cards), -5), (999999, (select id from accounts where kind = 'merchant'), 5)",
        "(2, (select account_id from cards), -5), (2, (select id from accounts where kind = 'merchant'), 5)",
    ],
    ids=["one leg", "unequal legs", "nothing", "no account", "no transaction", "declined transaction"],
)
async def test_entries_balance_and_belong_to_an_approved_transaction(ledger: Desk, entries: str) -> None:
    await refused(ledger, f"insert into entries (transaction_number, account_id, amount_minor) values {entries}")


async def test_entries_are_in_accounts_of_the_transactions_currency(ledger: Desk) -> None:
    await refused(
        ledger,
        """
        with a as (insert into accounts (kind, owner, currency) values ('merchant', 'm', 'USD') returning id)
        insert into entries (transaction_number, account_id, amount_minor)
        select 1, id, 5 from a union all select 1, account_id, -5 from cards
        """,
    )


def posting(entries: str, **changes: object) -> str:
    """One statement that adds a transaction with the number 100 and these entries of it."""
    fields: dict[str, object] = {
        "number": 100,
        "kind": "payment",
        "merchant": "shop",
        "card": "(select account_id from cards)",
        "amount": 5,
        "currency": "BRL",
        "decline_code": "null",
        "refund_of": "null",
    }
    transaction = TRANSACTION.format(**(fields | changes))
    added = f"insert into entries (transaction_number, account_id, amount_minor) {entries}"
    return f"with t as ({transaction}) {added}"


def legs(amount_minor: int) -> str:
    """Entries that move the amount from the card to the merchant."""
    return (
        f"select 100, account_id, {-amount_minor} from cards union all "
        f"select 100, id, {amount_minor} from accounts where kind = 'merchant'"
    )


async def test_an_approved_transaction_moves_its_amount_on_its_card(ledger: Desk) -> None:
    await refused(ledger, posting("select 1, 1, 1 where false"), "moves its amount")
    await refused(ledger, posting(legs(4)), "moves its amount")
    await refused(ledger, posting(legs(-5)), "moves its amount")
    await ledger.fetch(posting(legs(5)))
    assert await ledger.value("select balance_minor from cards") == -505


async def test_no_posting_takes_a_card_past_its_limit_or_above_zero(ledger: Desk) -> None:
    await refused(ledger, posting(legs(501), amount=501), "cards_within_limit")
    refund = {"kind": "refund", "refund_of": 1}
    await refused(ledger, posting(legs(-501), amount=501, **refund))
    await refused(ledger, "update cards set limit_minor = 499", "cards_within_limit")


@pytest.mark.parametrize(
    "changes",
    [
        {"refund_of": 1, "amount": 501},
        {"refund_of": 2, "amount": 5},
        {"refund_of": 3, "amount": 5},
        {"refund_of": 1, "merchant": "other"},
        {"refund_of": "null"},
        {"refund_of": 1, "decline_code": "'card_blocked'"},
        {"refund_of": 77},
    ],
    ids=["too much", "of a declined one", "of a refund", "of another merchant", "of nothing", "declined", "of none"],
)
async def test_a_refund_gives_back_no_more_than_an_approved_payment_of_its_own(
    ledger: Desk, changes: dict[str, object]
) -> None:
    amount = changes.get("amount", 5)
    assert isinstance(amount, int)
    await refused(ledger, posting(legs(-amount), **({"kind": "refund"} | changes)))


async def test_one_key_has_one_transaction(ledger: Desk) -> None:
    await refused(ledger, "insert into idempotency_keys (transaction_id) select transaction_id from idempotency_keys")


async def test_the_audit_finds_what_slipped_past_the_triggers(ledger: Desk, postgres_superuser: Connection) -> None:
    repairs = postgres_superuser
    await repairs.execute("set session_replication_role = replica")
    for statement, sentence in (
        ("update cards set balance_minor = balance_minor - 1", "not the sum of its entries"),
        ("update entries set amount_minor = amount_minor + 1 where transaction_number = 1", "do not sum to zero"),
        ("update transactions set currency = 'USD' where number = 1", "in another currency"),
        ("update transactions set amount_minor = 5000 where number = 3", "more was refunded than paid"),
        ("update transactions set id = gen_random_uuid() where number = 2", "do not belong together"),
        ("delete from entries where transaction_number = 1", "do not say what it says"),
        ("update cards set limit_minor = 0", "past its limit"),
    ):
        await repairs.execute("begin")
        try:
            await repairs.execute("alter table cards drop constraint cards_within_limit")
            await repairs.execute(statement)
            found = await audit.findings(repairs)
        finally:
            await repairs.execute("rollback")
        assert any(sentence in each for each in found), (statement, found)
    await ledger.assert_books()
