"""The supervisor's own interface, for ./task status and its like, behind a token that lies in the data folder."""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from functions.runtime.problem import problem
from local.log.port import GroupActive, LogUnavailable

PREFIX = "/control"


class Start(BaseModel):
    """From where a source delivers again: an offset of each partition, or a moment."""

    model_config = ConfigDict(extra="forbid")

    offset: int | None = Field(default=None, ge=0)
    time: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Start:
        if (self.offset is None) == (self.time is None):
            raise ValueError("either an offset or a time")
        return self

    @property
    def place(self) -> int | dt.datetime:
        """The one that is given."""
        if self.time is not None:
            return self.time
        return self.offset or 0


def control_application(
    token: str,
    status: Callable[[], Awaitable[Mapping[str, Any]]],
    environment: Callable[[str], Mapping[str, str] | None],
    rewind: Callable[[str, int | dt.datetime], Awaitable[int | None]],
) -> Router:
    """The routes under /control.

    environment answers None for a name that is no service and no job, rewind for one that is no source.
    """

    def allowed(request: Request) -> bool:
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {token}".encode())

    async def show_status(request: Request) -> Response:
        if not allowed(request):
            return problem(HTTPStatus.UNAUTHORIZED, "The token of the data folder is needed.")
        return JSONResponse(await status())

    async def show_environment(request: Request) -> Response:
        if not allowed(request):
            return problem(HTTPStatus.UNAUTHORIZED, "The token of the data folder is needed.")
        found = environment(request.path_params["name"])
        if found is None:
            return problem(HTTPStatus.NOT_FOUND, f"There is no service or job {request.path_params['name']}.")
        return JSONResponse(dict(found))

    async def rewind_source(request: Request) -> Response:
        if not allowed(request):
            return problem(HTTPStatus.UNAUTHORIZED, "The token of the data folder is needed.")
        try:
            start = Start.model_validate_json(await request.body())
        except ValidationError:
            return problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "Either an offset from 0 or a time with its zone is needed."
            )
        name = request.path_params["name"]
        try:
            events = await rewind(name, start.place)
        except GroupActive as error:
            return problem(HTTPStatus.CONFLICT, str(error))
        except LogUnavailable as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if events is None:
            return problem(HTTPStatus.NOT_FOUND, f"There is no source {name}.")
        return JSONResponse({"events": events})

    return Router(
        [
            Route(f"{PREFIX}/status", show_status),
            Route(f"{PREFIX}/environment/{{name}}", show_environment),
            Route(f"{PREFIX}/rewind/{{name}}", rewind_source, methods=["POST"]),
        ]
    )
