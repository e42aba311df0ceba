"""Conditional requests: a validator for what is answered, so that who has it already is told so in a few bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_TAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')


def etag_of(*parts: str | bytes) -> str:
    """An entity tag (RFC 9110 §8.8.3) that is another one when any of the parts is."""
    digest = hashlib.sha256()
    for part in parts:
        octets = part.encode() if isinstance(part, str) else part
        digest.update(len(octets).to_bytes(8) + octets)
    return f'"{digest.hexdigest()[:32]}"'


def not_modified(request: Request, etag: str, headers: Mapping[str, str]) -> Response | None:
    """304 where If-None-Match (RFC 9110 §13.1.2) names the tag, else nothing. The headers are those of the 200."""
    candidates = ", ".join(request.headers.getlist("if-none-match"))
    if candidates.strip() != "*" and etag not in _TAG.findall(candidates):
        return None
    return Response(None, HTTPStatus.NOT_MODIFIED, {**headers, "ETag": etag})
