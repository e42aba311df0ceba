"""Cards to try the bank with.

    python -m functions.bank.demo          adds them to the bank's database; may be repeated
    python -m functions.bank.demo list     prints them, one JSON object a line: number, name, expiration_month, …

Their numbers are written nowhere: they derive from the bank's oldest keys (BANK_KEYS_FILE), so that each bank has its
own, and `list` can name them. Besides a few ordinary cards there is one for each decline code, so that integrators can
try what they do about it: whatever is paid with such a card is declined with its code.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from functions.bank.cards import insert_card, number_of, shown
from functions.bank.database import Database
from functions.bank.keys import KeyFile, KeyFileError, Keyring
from functions.bank.payments import now_utc
from functions.domain.card import Brand, CardProof, Expiry
from functions.domain.error import CodebankError
from functions.domain.payment import DeclineCode
from functions.runtime import log, settings

_GOOD: Final = Expiry(2039, 12)
_EXPIRED: Final = Expiry(2020, 1)


@dataclass(frozen=True)
class DemoCard:
    """What is special about one demo card. One that is not issued has a number that the bank does not know."""

    name: str
    brand: Brand = Brand.VISA
    limit_minor: int = 100_000_00
    expiry: Expiry = _GOOD
    blocked: bool = False
    issued: bool = True
    scripted_decline: DeclineCode | None = None


CARDS: Final = (
    DemoCard("Ana Lima", limit_minor=1_000_000_00),
    DemoCard("Bruno Alves", Brand.MASTERCARD),
    DemoCard("Clara Nunes", Brand.AMEX),
    DemoCard("Davi Rocha", Brand.ELO),
    DemoCard("Elisa Prado", limit_minor=10_00),
    DemoCard("Fabio Melo", Brand.MASTERCARD, blocked=True),
    DemoCard("Gilda Reis", expiry=_EXPIRED),
    *(
        DemoCard(f"Declined {code.value}", issued=code is not DeclineCode.UNKNOWN_CARD, scripted_decline=code)
        for code in DeclineCode
    ),
)

CURRENCY: Final = "BRL"


def proofs(keyring: Keyring) -> Iterator[tuple[DemoCard, CardProof, str]]:
    """Each demo card with its proof and token. The oldest keys never change, so neither do these."""
    key, cvv_key_id = keyring.fingerprint[0], keyring.cvv[0].id
    for index, card in enumerate(CARDS):
        derived = key.digest("demo", str(index))
        number = number_of(card.brand, int.from_bytes(derived[:8]))
        cvv = keyring.cvv_of(number, card.expiry, cvv_key_id)
        token = str(uuid.UUID(bytes=derived[16:], version=4))
        yield card, CardProof(card.name, number, card.expiry, cvv), token


async def seed(database: Database, keyring: Keyring) -> int:
    """Adds the cards that are missing, and answers how many they were."""
    added = 0
    for card, proof, token in proofs(keyring):
        if not card.issued:
            continue
        async with database.transaction() as connection:
            new = await insert_card(
                connection,
                keyring,
                now_utc(),
                proof,
                token,
                keyring.cvv[0].id,
                CURRENCY,
                card.limit_minor,
                blocked=card.blocked,
                scripted_decline=card.scripted_decline,
            )
        added += new is not None
    return added


def listed(keyring: Keyring) -> Iterator[str]:
    """Each demo card as a line of JSON."""
    for card, proof, token in proofs(keyring):
        decline = card.scripted_decline
        if card.blocked:
            decline = DeclineCode.CARD_BLOCKED
        elif card.expiry is _EXPIRED:
            decline = DeclineCode.EXPIRED_CARD
        yield shown(proof, token, card.limit_minor, currency=CURRENCY, brand=card.brand.value, decline_code=decline)


async def _seed(keyring: Keyring) -> None:
    database = Database.of_settings()
    try:
        print(f"{await seed(database, keyring)} demo cards were added")
    finally:
        await database.close()


def main() -> None:
    """The command."""
    if sys.argv[1:] not in ([], ["list"]):
        sys.exit("python -m functions.bank.demo [list]")
    log.configure()
    try:
        keyring = KeyFile(Path(settings.text("BANK_KEYS_FILE"))).keyring
        if sys.argv[1:]:
            print("\n".join(listed(keyring)))
        else:
            asyncio.run(_seed(keyring))
    except (CodebankError, KeyFileError, settings.SettingError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
