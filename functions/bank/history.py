"""What was decided, read again: one transaction, or page by page."""

from __future__ import annotations

from typing import Final

from functions.bank.books import TRANSACTION_SELECT, TRANSACTIONS_BY_ID, transaction_of
from functions.bank.database import Database
from functions.bank.ledger import Transaction
from functions.domain.error import Fault, Invalid, NotFound

NUMBER_MAX: Final = 2**63 - 1

# The four filters have a statement each, so that each goes by its own index.
_PAGE: Final = f"{TRANSACTION_SELECT} where t.number < $1 {{}} order by t.number desc limit $2"
_OF_CARD: Final = "and t.card_account_id = (select account_id from cards where token = $3)"


class History:
    """The transactions of the ledger, for who may see them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def transaction(self, transaction_id: str, *, merchant: str | None) -> Transaction:
        """One transaction. Raises NotFound also where it is not the merchant's."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(TRANSACTIONS_BY_ID, [transaction_id])
        if row is None or merchant not in {None, row["merchant"]}:
            raise NotFound("there is no such transaction")
        return transaction_of(row)

    async def page(
        self, *, merchant: str | None, card_token: str | None, rows: int, page_token: str
    ) -> tuple[list[Transaction], str]:
        """Up to `rows` transactions, newest first, and the token of the next page (empty on the last one)."""
        before = _number(page_token) if page_token else NUMBER_MAX
        arguments: list[object] = [before, rows + 1]
        filters = ""
        if card_token is not None:
            filters = _OF_CARD
            arguments.append(card_token)
        if merchant is not None:
            arguments.append(merchant)
            filters += f" and t.merchant = ${len(arguments)}"
        async with self._database.connection() as connection:
            found = await connection.fetch(_PAGE.format(filters), *arguments)
        next_page_token = str(found[rows - 1]["number"]) if len(found) > rows else ""
        return [transaction_of(row) for row in found[:rows]], next_page_token


def _number(page_token: str) -> int:
    if not (page_token.isascii() and page_token.isdigit() and int(page_token[:20]) <= NUMBER_MAX):
        fault = Fault("#/page_token", "invalid_page_token", "a page token is one that an answer before gave")
        raise Invalid("the page token is not usable", (fault,))
    return int(page_token)
