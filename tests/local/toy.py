"""A service for tests of the platform: says who it is, waits, refuses or dies, as it is told."""

from __future__ import annotations

import asyncio
import os
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_under_way = 0
_gate = asyncio.Event()


async def _who(request: Request) -> Response:
    return JSONResponse({"pid": os.getpid(), "headers": dict(request.headers), "path": request.url.path})


async def _hold(request: Request) -> Response:
    """Answers once /release was asked for: how many were held together."""
    global _under_way  # noqa: PLW0603 - one counter for one process
    _under_way += 1
    await _gate.wait()
    return JSONResponse({"pid": os.getpid(), "together": _under_way})


async def _release(request: Request) -> Response:
    _gate.set()
    return Response()


async def _count(request: Request) -> Response:
    return JSONResponse(_under_way)


async def _die(request: Request) -> Response:
    os._exit(3)


async def _status(request: Request) -> Response:
    return PlainTextResponse("because", request.path_params["status"], {"Retry-After": "1"})


async def _echo(request: Request) -> Response:
    return Response(
        await request.body(), headers={"x-method": request.method, "connection": "x-secret", "x-secret": "1"}
    )


app = Starlette(
    routes=[
        Route("/who", _who),
        Route("/hold", _hold),
        Route("/release", _release),
        Route("/count", _count),
        Route("/die", _die, methods=["GET", "POST"]),
        Route("/status/{status:int}", _status),
        Route("/echo", _echo, methods=["POST", "PUT"]),
    ]
)

if __name__ == "__main__":
    if os.environ.get("TOY") == "broken":
        print("the toy is broken: no spring")
        sys.exit(7)
    uvicorn.run(app, host=os.environ["HOST"], port=int(os.environ["PORT"]), log_level="error", lifespan="off")
