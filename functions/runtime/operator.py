"""Operators: who shows a bearer token that the bank has signed for the role "operator" (RFC 6750, RFC 7519)."""

from __future__ import annotations

from typing import Final

import jwt
from starlette.requests import Request

from functions.domain.error import Forbidden, Unauthenticated
from functions.runtime.bank import Bank
from functions.runtime.key_set import ALGORITHM, KeySet

ISSUER: Final = "codebank"
AUDIENCE: Final = "bank"
ROLE: Final = "operator"
TOKEN_CHARACTERS_MAX: Final = 2048
CLOCK_LEEWAY_SECONDS: Final = 5
"""How far the clock here may be from the bank's."""

_WHO: Final = "An operator's token is needed."


class Operators:
    """Knows operators by the keys of the bank."""

    def __init__(self, bank: Bank) -> None:
        self._keys = KeySet(bank)

    async def of(self, request: Request) -> str:
        """The name of the operator who asks. Raises Unauthenticated, Forbidden for another role, Unavailable."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= TOKEN_CHARACTERS_MAX:
            raise Unauthenticated(_WHO)
        try:
            key = await self._keys.key(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise Unauthenticated(_WHO)
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=CLOCK_LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "role"]},
            )
        except jwt.InvalidTokenError:
            raise Unauthenticated(_WHO) from None
        if claims["role"] != ROLE:
            raise Forbidden("This is for operators.")
        return str(claims["sub"])
