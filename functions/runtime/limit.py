"""Limits on what a stranger may send: the size of a body, and the time it may take to arrive."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Message, Receive, Scope

BODY_BYTES_MAX: Final = 1024 * 1024
BODY_SECONDS_MAX: Final = 10.0


class Oversize(Exception):
    """The body is larger than allowed."""


class TooSlow(Exception):
    """The body did not arrive in time."""


async def read_whole_body(scope: Scope, receive: Receive, *, bytes_max: int = BODY_BYTES_MAX) -> bytes | None:
    """The body of an ASGI request; None where the client went away before it was whole. Raises Oversize, TooSlow."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > bytes_max:
        raise Oversize
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                chunks.append(message.get("body", b""))
                size_bytes += len(chunks[-1])
                if size_bytes > bytes_max:
                    raise Oversize
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise TooSlow from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """A receive that hands out the body that was read, then goes on as the original does."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
