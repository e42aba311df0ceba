"""dead_letter: keeps what could not be delivered, and gives it to its step again when an operator says so.

Started by a KafkaSource on the dead-letter topic, which posts to /, and by operators at /api/dead-letters. The gateway
leads no stranger to /.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from functions.operations.desk import Desk
from functions.operations.letters import Letters, letter_of
from functions.operations.replay import Replay, targets_of_settings
from functions.runtime.bank import Bank
from functions.runtime.database import Database
from functions.runtime.http import http_function, route
from functions.runtime.operator import Operators


@cache
def letters() -> Letters:
    """The dead letters of OPERATIONS_DATABASE_URL."""
    return Letters(Database.of("operations"))


@cache
def desk() -> Desk:
    """The desk: operators by the bank at BANK_ADDRESS, steps by REPLAY_TARGETS."""
    return Desk(Operators(Bank.of_settings()), letters(), Replay(letters(), targets_of_settings()))


async def keep(request: Request) -> Response:
    """Stores one dead letter."""
    await letters().store(letter_of(request.headers, await request.body()))
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def list_letters(request: Request) -> Response:
    """Letters by state, step and type."""
    return await desk().list(request)


async def show(request: Request) -> Response:
    """One letter with its event."""
    return await desk().show(request)


async def replay(request: Request) -> Response:
    """Gives one letter to its step again."""
    return await desk().replay(request)


async def replay_selection(request: Request) -> Response:
    """Gives several letters to their steps again."""
    return await desk().replay_selection(request)


async def discard(request: Request) -> Response:
    """Gives a letter up."""
    return await desk().discard(request)


dead_letter = http_function(
    route("POST", "/", keep),
    route("GET", "/api/dead-letters", list_letters),
    route("POST", "/api/dead-letters/replay", replay_selection),
    route("GET", "/api/dead-letters/{id}", show),
    route("POST", "/api/dead-letters/{id}/replay", replay),
    route("POST", "/api/dead-letters/{id}/discard", discard),
)
