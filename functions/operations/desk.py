"""The operators' desk: what they ask about dead letters, and what they decide. Each method is a route of the API."""

from __future__ import annotations

import uuid

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.domain.error import CodebankError, NotFound
from functions.operations.letter_answer import REPLAY_LETTERS_MAX, Discard, ListQuery, Selection, summary, whole
from functions.operations.letters import DISCARDED, OPEN, Letters
from functions.operations.replay import Replay
from functions.runtime.cursor import cursor_of
from functions.runtime.http import read_body, read_query
from functions.runtime.operator import Operators


class Desk:
    """Answers operators, and nobody else."""

    def __init__(self, operators: Operators, letters: Letters, replay: Replay) -> None:
        self._operators = operators
        self._letters = letters
        self._replay = replay

    async def list(self, request: Request) -> Response:
        """Letters by state, step and type, oldest first: {items, next}."""
        await self._operators.of(request)
        query = read_query(request, ListQuery)
        found = await self._letters.page(
            after=query.after, limit=query.limit, state=query.state, step=query.step, event_type=query.type
        )
        following = cursor_of(found[-1].position or 0) if len(found) == query.limit else None
        return JSONResponse({"items": [summary(letter) for letter in found], "next": following})

    async def show(self, request: Request) -> Response:
        """One letter with its event."""
        await self._operators.of(request)
        return JSONResponse(whole(await self._letters.get(_id(request))))

    async def replay(self, request: Request) -> Response:
        """Gives one letter to its step again; answers the letter as it is then."""
        who = await self._operators.of(request)
        return JSONResponse(summary(await self._replay.replay(await self._letters.get(_id(request)), who)))

    async def replay_selection(self, request: Request) -> Response:
        """Gives letters to their steps again, oldest first: {replayed, failed: [{id, detail}]}."""
        who = await self._operators.of(request)
        selection = await read_body(request, Selection)
        if selection.ids is not None:
            chosen = [await self._letters.get(letter_id) for letter_id in selection.ids]
        else:
            chosen = [*await self._letters.page(after=0, limit=REPLAY_LETTERS_MAX, state=OPEN, step=selection.step)]
        replayed, failed = 0, []
        for letter in chosen:
            try:
                after = await self._replay.replay(letter, who)
            except CodebankError as error:
                failed.append({"id": str(letter.id), "detail": error.detail})
            else:
                replayed += after.state != OPEN
                if after.state == OPEN:
                    failed.append({"id": str(letter.id), "detail": after.reason})
        return JSONResponse({"replayed": replayed, "failed": failed})

    async def discard(self, request: Request) -> Response:
        """Gives a letter up, for a reason."""
        who = await self._operators.of(request)
        reason = (await read_body(request, Discard)).reason
        return JSONResponse(summary(await self._letters.close(_id(request), DISCARDED, who, reason)))


def _id(request: Request) -> uuid.UUID:
    try:
        return uuid.UUID(request.path_params["id"])
    except ValueError:
        raise NotFound("There is no such dead letter.") from None
