"""The supervisor's own interface, for ./task status and its like, behind a token that lies in the data folder."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from functions.runtime.problem import problem

PREFIX = "/control"


def control_application(
    token: str,
    status: Callable[[], Awaitable[Mapping[str, Any]]],
    environment: Callable[[str], Mapping[str, str] | None],
) -> Router:
    """The routes under /control. environment answers None for a name that is no service and no job."""

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

    return Router([Route(f"{PREFIX}/status", show_status), Route(f"{PREFIX}/environment/{{name}}", show_environment)])
