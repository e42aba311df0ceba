"""The books of a running system, read from its databases: what must agree, whatever happened."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from tests.running import RunningSystem


@dataclass(frozen=True)
class Books:
    """What the bank has in its ledger and outbox."""

    unbalanced_transactions: int
    wrong_balances: int
    unpublished: int
    approved: dict[str, int]
    """Amounts in minor units of the approved payments, by order."""


async def read_books(system: RunningSystem) -> Books:
    """Reads the bank's database."""
    bank = await asyncpg.connect((system.folder.secrets / "bank-database" / "url").read_text())
    try:
        return Books(
            unbalanced_transactions=await bank.fetchval(
                "select count(*) from (select transaction_number from entries"
                " group by transaction_number having sum(amount_minor) <> 0) wrong"
            ),
            wrong_balances=await bank.fetchval(
                "select count(*) from cards c where balance_minor <>"
                " (select coalesce(sum(e.amount_minor), 0) from entries e where e.account_id = c.account_id)"
            ),
            unpublished=await bank.fetchval("select count(*) from outbox where sent_at is null"),
            approved={
                row["order_id"]: row["amount_minor"]
                for row in await bank.fetch(
                    "select order_id, amount_minor from transactions"
                    " where decline_code is null and kind = 'payment' and order_id is not null"
                )
            },
        )
    finally:
        await bank.close()
