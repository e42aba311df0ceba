"""Serves one function: `python -m functions.runtime.server`.

The function is named by FUNCTION_SOURCE, FUNCTION_TARGET and FUNCTION_SIGNATURE_TYPE, as functions-framework has them;
it listens on HOST and PORT. What the framework leaves open stands around it here: a health path, limits on the body's
size and time, the trace context. One process, uvicorn's event loop.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import uvicorn
from functions_framework.aio import create_asgi_app
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.runtime import log, settings, trace
from functions.runtime.limit import (
    BODY_BYTES_MAX,
    BODY_SECONDS_MAX,
    Oversize,
    TooSlow,
    read_whole_body,
    replayed,
)
from functions.runtime.problem import problem

DRAIN_SECONDS_MAX: Final = 25
CONNECTIONS_MAX: Final = 1000
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than any caller keeps an idle connection, so that it is always the caller who closes it."""


class Guard:
    """ASGI middleware in front of the framework: health, limits, trace.

    An event that is over the limit is wrong in itself: 422, so that its source dead-letters it. A request is told 413.
    """

    def __init__(self, app: ASGIApp, *, oversize: HTTPStatus) -> None:
        self._app = app
        self._oversize = oversize

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI connection."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/healthz" and scope["method"] in ("GET", "HEAD"):
            await JSONResponse({"status": "ok"})(scope, receive, send)
            return
        trace.enter(dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1") or None)
        try:
            body = await read_whole_body(scope, receive)
        except Oversize:
            await problem(self._oversize, f"The body is larger than {BODY_BYTES_MAX} bytes.")(scope, receive, send)
        except TooSlow:
            detail = f"The body did not arrive within {BODY_SECONDS_MAX:.0f} s."
            await problem(HTTPStatus.REQUEST_TIMEOUT, detail)(scope, receive, send)
        else:
            if body is not None:
                await self._app(scope, replayed(body, receive), send)


def application() -> ASGIApp:
    """The ASGI application of the function that the environment names."""
    signature = settings.text("FUNCTION_SIGNATURE_TYPE", "http")
    framework = create_asgi_app(settings.text("FUNCTION_TARGET"), settings.text("FUNCTION_SOURCE"), signature)  # type: ignore[no-untyped-call]
    oversize = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if signature == "http" else HTTPStatus.UNPROCESSABLE_ENTITY
    return Guard(framework, oversize=oversize)


def main() -> None:
    """Serves until SIGTERM, then lets the requests under way finish."""
    log.configure()
    uvicorn.run(
        application(),
        host=settings.text("HOST", "0.0.0.0"),  # noqa: S104 - a container is reached from outside
        port=settings.integer("PORT", 8080, minimum=1, maximum=65535),
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS_MAX,
        limit_concurrency=CONNECTIONS_MAX,
    )


if __name__ == "__main__":
    main()
