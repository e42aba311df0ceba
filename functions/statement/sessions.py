"""Sessions: a cardholder proves a card to the bank, and is known by the bank's token for the next minutes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.domain.card import CardProof
from functions.domain.error import Unauthenticated
from functions.domain.event import rfc3339
from functions.runtime.bank import CALL_TIMEOUT_SECONDS, Bank, bank_errors
from functions.runtime.card import proof_message
from functions.runtime.key_set import ALGORITHM, KeySet
from protos.codebank.bank.v1 import bank_pb2

ISSUER: Final = "codebank"
AUDIENCE: Final = "statement"
COOKIE: Final = "codebank_session"
COOKIE_PATH: Final = "/api"
TOKEN_CHARACTERS_MAX: Final = 2048

CLOCK_LEEWAY_SECONDS: Final = 5
"""How far the clock here may be from the bank's."""

_NOT_SIGNED_IN: Final = "Sign in with a card to see its statement."


@dataclass(frozen=True)
class Session:
    """The card that is signed in, as far as it may be shown."""

    card_token: str
    brand: str
    last4: str


class Sessions:
    """The bank, as who makes sessions and as whose keys verify them."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._keys = KeySet(bank)

    async def sign_in(self, proof: CardProof) -> bank_pb2.Session:
        """A token for the holder of the card. Raises Unauthenticated, Busy (also after wrong proofs), Unavailable."""
        request = bank_pb2.SignInRequest(card=proof_message(proof))
        with bank_errors():
            return await self._bank.stub.SignIn(request, timeout=CALL_TIMEOUT_SECONDS, metadata=self._bank.metadata())

    async def of(self, request: Request) -> Session:
        """Who asks, by the request's bearer token or else its cookie. Raises Unauthenticated, Unavailable."""
        token = _token(request)
        try:
            key = await self._keys.key(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise Unauthenticated(_NOT_SIGNED_IN)
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=CLOCK_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "brand", "last4"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The session has expired: sign in again.") from None
        except jwt.InvalidTokenError:
            raise Unauthenticated(_NOT_SIGNED_IN) from None
        return Session(str(claims["sub"]), str(claims["brand"]), str(claims["last4"]))


def _token(request: Request) -> str:
    authorization = request.headers.get("authorization")
    if authorization is None:
        token = request.cookies.get(COOKIE, "")
    else:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(_NOT_SIGNED_IN)
    if not 0 < len(token) <= TOKEN_CHARACTERS_MAX:
        raise Unauthenticated(_NOT_SIGNED_IN)
    return token


def signed_in(request: Request, made: bank_pb2.Session) -> Response:
    """The session: as JSON for API clients, and as a cookie, which a browser shows to no script and no other site."""
    expires_at = made.expires_at.ToDatetime(dt.UTC)
    content = {
        "token": made.token,
        "expires_at": rfc3339(expires_at),
        "card": {"token": made.card.token, "brand": made.card.brand, "last4": made.card.last4},
    }
    response = JSONResponse(content, HTTPStatus.CREATED, {"Cache-Control": "no-store"})
    seconds = int((expires_at - dt.datetime.now(dt.UTC)).total_seconds())
    response.set_cookie(COOKIE, made.token, max_age=seconds, **_attributes(request))
    return response


def signed_out(request: Request) -> Response:
    """Takes the cookie from a browser."""
    response = Response(None, HTTPStatus.NO_CONTENT)
    response.delete_cookie(COOKIE, **_attributes(request))
    return response


def _attributes(request: Request) -> dict[str, Any]:
    """A browser refuses a Secure cookie from plain HTTP, so it is one only where the public address is https."""
    secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
    return {"path": COOKIE_PATH, "httponly": True, "samesite": "strict", "secure": secure}
