"""Cards: issued, blocked, given another limit.

    python -m functions.bank.cards issue --name "Ana Lima" --limit-minor 500000 [--currency BRL] [--brand visa]

asks the bank at BANK_ADDRESS for a card and prints it as one line of JSON, the only time that its number and CVV are
seen. The caller is an operator: by the token BANK_TOKEN, or by one made with the keys in BANK_KEYS_FILE.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import secrets
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from functions.bank.books import CARD_COLUMNS, card_of
from functions.bank.database import Connection, Database
from functions.bank.keys import KeyFile, KeyFileError, Keyring
from functions.bank.ledger import Card
from functions.bank.payments import now_utc
from functions.bank.token import Caller, Role, caller_token
from functions.domain.card import Brand, CardNumber, CardProof, Expiry, luhn_check_digit
from functions.domain.error import CodebankError, Conflict, NotFound
from functions.domain.payment import DeclineCode
from functions.runtime import settings
from functions.runtime.bank import CALL_TIMEOUT_SECONDS, Bank, bank_errors
from protos.codebank.bank.v1 import bank_pb2 as pb

YEARS_GOOD: Final = 5
NUMBER_ATTEMPTS_MAX: Final = 5

# The leading digits of this bank's cards, and how long the whole number is.
_PREFIXES: Final = {
    Brand.VISA: ("453998", 16),
    Brand.MASTERCARD: ("520473", 16),
    Brand.AMEX: ("371449", 15),
    Brand.ELO: ("636368", 16),
}


def number_of(brand: Brand, middle: int) -> CardNumber:
    """The number of this bank and brand whose digits between prefix and check digit are these, cut to their places."""
    prefix, length = _PREFIXES[brand]
    places = length - len(prefix) - 1
    digits = prefix + f"{middle % 10**places:0{places}}"
    return CardNumber(digits + luhn_check_digit(digits))


@dataclass(frozen=True, slots=True)
class IssuedCard:
    """A new card, and the proof of it: the only time that it is seen."""

    card: Card
    proof: CardProof


class Cards:
    """The bank's cards, as an operator tends them."""

    def __init__(self, database: Database, keys: KeyFile, clock: Callable[[], dt.datetime] = now_utc) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock

    async def issue(self, name: str, currency: str, limit_minor: int, brand: Brand) -> IssuedCard:
        """Makes a card with a number that no other card has."""
        keyring, now = self._keys.keyring, self._clock()
        expiry, cvv_key_id = Expiry(now.year + YEARS_GOOD, now.month), keyring.cvv_key(now).id
        for _ in range(NUMBER_ATTEMPTS_MAX):
            number = number_of(brand, secrets.randbelow(10**12))
            proof = CardProof(name, number, expiry, keyring.cvv_of(number, expiry, cvv_key_id))
            async with self._database.transaction() as connection:
                card = await insert_card(
                    connection, keyring, now, proof, str(uuid.uuid4()), cvv_key_id, currency, limit_minor
                )
            if card is not None:
                return IssuedCard(card, proof)
        raise Conflict("no free number was found")

    async def set_blocked(self, token: str, *, blocked: bool) -> Card:
        """Blocks or unblocks. Raises NotFound."""
        query = f"update cards set blocked = $2 where token = $1 returning {CARD_COLUMNS}"  # noqa: S608
        async with self._database.connection() as connection:
            return _found(await connection.fetchrow(query, token, blocked))

    async def set_limit(self, token: str, limit_minor: int) -> Card:
        """Changes the limit. Raises NotFound, Conflict where the card owes more than that already."""
        query = f"update cards set limit_minor = $2 where token = $1 returning {CARD_COLUMNS}"  # noqa: S608
        async with self._database.connection() as connection:
            try:
                return _found(await connection.fetchrow(query, token, limit_minor))
            except asyncpg.CheckViolationError:
                raise Conflict("the card owes more than that already; block it to stop its payments") from None


def _found(row: asyncpg.Record | None) -> Card:
    if row is None:
        raise NotFound("there is no such card")
    return card_of(row)


async def insert_card(
    connection: Connection,
    keyring: Keyring,
    now: dt.datetime,
    proof: CardProof,
    token: str,
    cvv_key_id: str,
    currency: str,
    limit_minor: int,
    *,
    blocked: bool = False,
    scripted_decline: DeclineCode | None = None,
) -> Card | None:
    """Adds a card and its account, in the caller's transaction. None where a card has that number, under any key."""
    fingerprints = keyring.fingerprints(proof.number)
    if await connection.fetchval("select exists (select from cards where fingerprint = any($1))", fingerprints):
        return None
    key = keyring.fingerprint_key(now)
    account_id = await connection.fetchval(
        "insert into accounts (kind, owner, currency) values ('card', $1, $2) returning id", token, currency
    )
    rows = await connection.fetch(
        f"""
        insert into cards (account_id, currency, token, brand, last4, name, expiration_year, expiration_month,
            limit_minor, blocked, scripted_decline, fingerprint, fingerprint_key_id, cvv_key_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning {CARD_COLUMNS}
        """,  # noqa: S608
        account_id,
        currency,
        token,
        proof.number.brand,
        proof.number.last4,
        proof.name,
        proof.expiry.year,
        proof.expiry.month,
        limit_minor,
        blocked,
        scripted_decline,
        fingerprints[keyring.fingerprint.index(key)],
        key.id,
        cvv_key_id,
    )
    return card_of(rows[0])


def shown(proof: CardProof, token: str, limit_minor: int, **more: object) -> str:
    """A card with its number and CVV as one line of JSON, for the person or program that is to use it."""
    fields: dict[str, object] = {
        "number": proof.number.reveal(),
        "name": proof.name,
        "expiration_month": proof.expiry.month,
        "expiration_year": proof.expiry.year,
        "cvv": proof.cvv.reveal(),
        "token": token,
        "limit_minor": limit_minor,
    }
    return json.dumps(fields | more, ensure_ascii=False)


async def _issue(arguments: argparse.Namespace) -> str:
    token = settings.text("BANK_TOKEN", "")
    if not token:
        keyring = KeyFile(Path(settings.text("BANK_KEYS_FILE"))).keyring
        operator = Caller(Role.OPERATOR, "command line")
        token = caller_token(keyring, operator, now_utc(), dt.timedelta(minutes=5))
    bank = Bank(settings.text("BANK_ADDRESS"), token)
    try:
        with bank_errors():
            issued: Any = await bank.stub.IssueCard(
                pb.IssueCardRequest(
                    name=arguments.name,
                    currency=arguments.currency,
                    limit_minor=arguments.limit_minor,
                    brand=arguments.brand,
                ),
                metadata=bank.metadata(),
                timeout=CALL_TIMEOUT_SECONDS,
            )
    finally:
        await bank.close()
    card = issued.card
    proof = CardProof.read(
        name=card.name,
        number=issued.number,
        expiration_month=card.expiration_month,
        expiration_year=card.expiration_year,
        cvv=issued.cvv,
        pointer="#",
    )
    return shown(proof, card.token, card.limit_minor, currency=card.currency, brand=card.brand)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m functions.bank.cards", description="the bank's cards")
    issue = parser.add_subparsers(dest="command", required=True).add_parser("issue", help="make a card and print it")
    issue.add_argument("--name", required=True, help="the holder, as it stands on the card")
    issue.add_argument("--limit-minor", required=True, type=int, help="how much it can spend, in minor units")
    issue.add_argument("--currency", default="BRL", help="ISO 4217 (%(default)s)")
    issue.add_argument("--brand", default=Brand.VISA.value, choices=[brand.value for brand in _PREFIXES])
    try:
        print(asyncio.run(_issue(parser.parse_args())))
    except (CodebankError, KeyFileError, settings.SettingError) as error:
        faults = [f"  {fault.pointer}: {fault.detail}" for fault in getattr(error, "faults", ())]
        sys.exit("\n".join([str(error), *faults]))


if __name__ == "__main__":
    main()
