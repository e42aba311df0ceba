"""Tokens: who calls the bank, and which card signed in.

    python -m functions.bank.token --role merchant --subject codeshop

prints a token for a merchant or an operator, signed with the bank's key (BANK_KEYS_FILE). Tokens are JWTs (RFC 7519)
signed with ES256; the header's `kid` says with which key. Callers' tokens are for the audience "bank" and carry a role;
a cardholder's token is for the audience "statement", its subject is the card token.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import jwt

from functions.bank.keys import SIGNING_ALGORITHM, KeyFile, KeyFileError, Keyring, UnknownKey
from functions.domain.error import Unauthenticated
from functions.runtime import settings

ISSUER: Final = "codebank"
CALLERS: Final = "bank"
CARDHOLDERS: Final = "statement"

SESSION_MINUTES: Final = 15
CALLER_DAYS_DEFAULT: Final = 365
TOKEN_CHARACTERS_MAX: Final = 2048
SUBJECT_CHARACTERS_MAX: Final = 100
VERIFIED_MAX: Final = 1000
"""How many verified tokens are remembered: checking a signature costs more than the rest of a call."""


class Role(StrEnum):
    """What a caller may do: a merchant charges and refunds, an operator tends cards and sees all transactions."""

    MERCHANT = "merchant"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a merchant by its id, an operator by name."""

    role: Role
    subject: str


def caller_token(keyring: Keyring, caller: Caller, now: dt.datetime, lifetime: dt.timedelta) -> str:
    """A token for a merchant or an operator."""
    claims = {"sub": caller.subject, "role": caller.role.value, "aud": CALLERS, "exp": now + lifetime}
    return _signed(keyring, claims, now)


def session_token(
    keyring: Keyring, *, card_token: str, brand: str, last4: str, now: dt.datetime
) -> tuple[str, dt.datetime]:
    """A token for the holder of the card, and when it expires."""
    expires_at = (now + dt.timedelta(minutes=SESSION_MINUTES)).replace(microsecond=0)
    claims = {"sub": card_token, "aud": CARDHOLDERS, "exp": expires_at, "brand": brand, "last4": last4}
    return _signed(keyring, claims, now), expires_at


def _signed(keyring: Keyring, claims: Mapping[str, object], now: dt.datetime) -> str:
    key = keyring.signing_key(now)
    return jwt.encode(
        {"iss": ISSUER, "iat": now, **claims}, key.private, algorithm=SIGNING_ALGORITHM, headers={"kid": key.id}
    )


class Verifier:
    """Tells callers by their tokens, and remembers the tokens that it verified."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys
        self._keyring = keys.keyring
        self._verified: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    def caller(self, token: str, now: dt.datetime) -> Caller:
        """Who the token was made for. Raises Unauthenticated."""
        if self._keys.keyring is not self._keyring:
            self._keyring = self._keys.keyring
            self._verified.clear()
        known = self._verified.get(token)
        if known is None:
            known = self._verify(token, now)
            self._verified[token] = known
            if len(self._verified) > VERIFIED_MAX:
                self._verified.popitem(last=False)
        caller, expires = known
        if expires <= now.timestamp():
            raise Unauthenticated("the token has expired")
        return caller

    def _verify(self, token: str, now: dt.datetime) -> tuple[Caller, float]:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise Unauthenticated("the token is not one of this bank's")
        try:
            key = self._keyring.signing_key_by_id(str(jwt.get_unverified_header(token).get("kid")))
            # The expiry is compared to the bank's clock by caller(), for a remembered token as for a new one.
            claims = jwt.decode(
                token,
                key.private.public_key(),
                algorithms=[SIGNING_ALGORITHM],
                audience=CALLERS,
                issuer=ISSUER,
                options={"require": ["exp", "sub", "role"], "verify_exp": False, "verify_iat": False},
            )
            return Caller(Role(claims["role"]), str(claims["sub"])), float(claims["exp"])
        except (jwt.InvalidTokenError, UnknownKey, ValueError, TypeError):
            raise Unauthenticated("the token is not one of this bank's") from None


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m functions.bank.token", description="makes a caller's token")
    parser.add_argument("--role", required=True, choices=[role.value for role in Role])
    parser.add_argument("--subject", required=True, help="the merchant's id, or the operator's name")
    parser.add_argument("--days", type=int, default=CALLER_DAYS_DEFAULT, help="how long it is good (%(default)s)")
    arguments = parser.parse_args()
    if not 1 <= len(arguments.subject) <= SUBJECT_CHARACTERS_MAX or not arguments.subject.isprintable():
        parser.error(f"a subject has 1 to {SUBJECT_CHARACTERS_MAX} printable characters")
    try:
        keyring = KeyFile(Path(settings.text("BANK_KEYS_FILE"))).keyring
    except (KeyFileError, settings.SettingError) as error:
        sys.exit(str(error))
    caller = Caller(Role(arguments.role), arguments.subject)
    print(caller_token(keyring, caller, dt.datetime.now(dt.UTC), dt.timedelta(days=arguments.days)))


if __name__ == "__main__":
    main()
