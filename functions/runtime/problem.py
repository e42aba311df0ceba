"""Error answers of HTTP steps: application/problem+json (RFC 9457) with a pointer to each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from functions.domain.error import CodebankError, Invalid, Unauthenticated
from functions.runtime.answer import STATUS, retry_headers


def problem(status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> Response:
    """A problem with the status' own meaning ("about:blank", RFC 9457 §4.2.1); members extend it (§3.2).

    A problem is of the moment: nobody keeps it, not even a 404, which caches may otherwise (RFC 9111 §4.2.2).
    """
    return JSONResponse(
        {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **members},
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )


def problem_of(error: CodebankError) -> Response:
    """The problem that says this error. A 401 names the way to authenticate (RFC 9110 §15.5.2)."""
    members = {"errors": [asdict(fault) for fault in error.faults]} if isinstance(error, Invalid) else {}
    challenge = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}
    return problem(STATUS[type(error)], error.detail, headers=retry_headers(error) | challenge, **members)
