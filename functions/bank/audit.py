"""Checks the books: `python -m functions.bank.audit` prints what is wrong, and ends with status 1 if anything is.

The database refuses each of these by its triggers and constraints. This reads all of the ledger and finds them anyway,
after a restore, a repair by hand, or a mistake in a trigger. It reads one snapshot and may run beside payments.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from functions.bank.database import Connection, Database
from functions.domain.error import CodebankError
from functions.runtime import settings

FAULTS_LISTED_MAX: Final = 100
AUDIT_SECONDS_MAX: Final = 1800

_WHOLE_TABLES: Final = f"""
    set local enable_seqscan = on; set local enable_hashjoin = on; set local enable_mergejoin = on;
    set local statement_timeout = '{AUDIT_SECONDS_MAX}s'
"""

_CHECKS: Final = {
    "the entries of a transaction do not sum to zero": """
        select transaction_number::text from entries group by transaction_number having sum(amount_minor) <> 0
    """,
    "an entry is in another currency than its transaction, or has none": """
        select e.transaction_number::text from entries e
        left join transactions t on t.number = e.transaction_number left join accounts a on a.id = e.account_id
        where t.number is null or a.id is null or t.currency <> a.currency
    """,
    "the entries of a transaction do not say what it says": """
        select t.number::text from transactions t
        left join (
            select e.transaction_number, count(*) as entries,
                sum(e.amount_minor) filter (where a.kind = 'card') as card_minor,
                min(a.id) filter (where a.kind = 'card') as card_account_id,
                min(a.owner) filter (where a.kind = 'merchant') as merchant
            from entries e join accounts a on a.id = e.account_id group by e.transaction_number
        ) e on e.transaction_number = t.number
        where case when t.decline_code is not null then e.entries is not null else
            (e.entries, e.card_minor, e.card_account_id, e.merchant) is distinct from
            (2, case t.kind when 'payment' then -t.amount_minor else t.amount_minor end, t.card_account_id, t.merchant)
        end
    """,
    "the balance of a card is not the sum of its entries": """
        select c.token::text from cards c
        left join (select account_id, sum(amount_minor) as sum_minor from entries group by account_id) e
            using (account_id)
        where c.balance_minor <> coalesce(e.sum_minor, 0)
    """,
    "a card is past its limit": """
        select token::text from cards where balance_minor not between -limit_minor and 0
    """,
    "more was refunded than paid": """
        select p.id::text from transactions p
        join (select refund_of, sum(amount_minor) as sum_minor from transactions group by refund_of) r
            on r.refund_of = p.number
        where r.sum_minor > p.amount_minor or p.kind <> 'payment' or p.decline_code is not null
    """,
    "a transaction and its idempotency key do not belong together": """
        select coalesce(t.id, k.transaction_id)::text from transactions t
        full join (select * from idempotency_keys where transaction_number is not null) k
            on k.transaction_number = t.number
        where t.id is distinct from k.transaction_id
    """,
}


async def faults(connection: Connection) -> list[str]:
    """What is wrong, a sentence and what it is about each; empty where the books are right."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await findings(connection)


async def findings(connection: Connection) -> list[str]:
    """What is wrong as the transaction sees it that the connection is in."""
    # Each check reads whole tables, unlike everything else that the bank does.
    await connection.execute(_WHOLE_TABLES)
    found = []
    for sentence, query in _CHECKS.items():
        rows = await connection.fetch(f"{query} limit {FAULTS_LISTED_MAX}", timeout=AUDIT_SECONDS_MAX)
        found += [f"{sentence}: {row[0]}" for row in rows]
    return found


async def _main() -> int:
    database = Database.of_settings()
    try:
        async with database.connection() as connection:
            found = await faults(connection)
    finally:
        await database.close()
    print("\n".join(found) or "the books are right")
    return 1 if found else 0


def main() -> None:
    """The command."""
    try:
        sys.exit(asyncio.run(_main()))
    except (CodebankError, settings.SettingError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
