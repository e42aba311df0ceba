"""The one table that maps an error to a status, which is also a source's retry policy (DESIGN §4)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from functions.domain.error import (
    Busy,
    CodebankError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)

STATUS: Final[dict[type[CodebankError], HTTPStatus]] = {
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Busy: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

# To a source, 404 and 409 mean "try again"; an event that contradicts what is known will contradict it again.
EVENT_STATUS: Final[dict[type[CodebankError], HTTPStatus]] = STATUS | {
    NotFound: HTTPStatus.UNPROCESSABLE_ENTITY,
    Conflict: HTTPStatus.UNPROCESSABLE_ENTITY,
}


def retry_headers(error: CodebankError) -> dict[str, str]:
    """Retry-After (RFC 9110 §10.2.3), in seconds, for the errors that pass by themselves."""
    return {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, (Busy, Unavailable)) else {}
