"""A step that takes every event and does nothing else, for benchmarks: `HOST=… PORT=… python -m tests.load.taker`."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

START: Any = {"type": "http.response.start", "status": 204, "headers": []}
BODY: Any = {"type": "http.response.body", "body": b""}


async def take(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the event and answers 204."""
    while (await receive()).get("more_body"):
        pass
    await send(START)
    await send(BODY)


if __name__ == "__main__":
    uvicorn.run(
        take,
        host=os.environ["HOST"],
        port=int(os.environ["PORT"]),
        lifespan="off",
        log_level="error",
        access_log=False,
        timeout_keep_alive=75,
    )
