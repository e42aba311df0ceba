"""statement: sign-in, and the entries of the card that is signed in.

Started by POST and DELETE /api/session, and by GET /api/statement?after=&limit=&from=&to=, which a page polls. A poll
with nothing new reads one number, the position of the card's last entry, and is answered with 304.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from functions.runtime.bank import Bank
from functions.runtime.card import CardBody
from functions.runtime.cursor import cursor_of
from functions.runtime.database import Database
from functions.runtime.etag import etag_of, not_modified
from functions.runtime.http import http_function, read_body, read_query, route
from functions.statement import page
from functions.statement.entries import Entries
from functions.statement.sessions import Sessions, signed_in, signed_out

SHAPE: Final = "1"
"""Which shape the answers have. It is a part of their validator: another shape is another answer."""

PRIVATE: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, Cookie"}


@cache
def entries() -> Entries:
    """The entries of STATEMENT_DATABASE_URL."""
    return Entries(Database.of("statement"))


@cache
def sessions() -> Sessions:
    """The sessions that the bank at BANK_ADDRESS makes."""
    return Sessions(Bank.of_settings())


async def sign_in(request: Request) -> Response:
    """Signs in who proves a card."""
    body = await read_body(request, CardBody)
    return signed_in(request, await sessions().sign_in(body.proof("#")))


async def sign_out(request: Request) -> Response:
    """Ends a browser's session."""
    return signed_out(request)


async def list_entries(request: Request) -> Response:
    """The signed-in card's entries behind the cursor, newest last: {entries, next, card}, or CSV."""
    session = await sessions().of(request)
    query, as_csv = read_query(request, page.PageQuery), page.wants_csv(request.headers)
    last_position = await entries().last_position(session.card_token)
    query.expect_known(last_position)
    etag = etag_of(SHAPE, session.card_token, str(last_position), request.url.query, str(as_csv))
    if unchanged := not_modified(request, etag, PRIVATE):
        return unchanged
    limit = query.limit or (page.CSV_ENTRIES_DEFAULT if as_csv else page.PAGE_ENTRIES_DEFAULT)
    found = await entries().page(session.card_token, query.bounds(last_position), limit=limit)
    full = len(found) == limit
    following, headers = cursor_of(found[-1].position if full else last_position), PRIVATE | {"ETag": etag}
    if not as_csv:
        return page.json_response(found, session, following, headers)
    onward = request.url.include_query_params(after=following)
    return page.csv_response(found, f"{onward.path}?{onward.query}" if full else None, headers)


statement = http_function(
    route("POST", "/api/session", sign_in),
    route("DELETE", "/api/session", sign_out),
    route("GET", "/api/statement", list_entries),
)
