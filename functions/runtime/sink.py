"""Where a step's events go: the address that a SinkBinding injects as K_SINK."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final, Protocol

import httpcore

from functions.domain.error import Invalid, Unavailable
from functions.runtime import settings
from functions.runtime.event import Event, binary_request

SEND_TIMEOUT_SECONDS: Final = 10.0
TIMEOUTS: Final = dict.fromkeys(("connect", "read", "write", "pool"), SEND_TIMEOUT_SECONDS)
KEEP_ALIVE_SECONDS: Final = 60.0
CONNECTIONS_MAX: Final = 32


class Sink(Protocol):
    """Takes events for good: once send returns, the event is durable."""

    async def send(self, event: Event) -> None:
        """Sends one event. Raises Unavailable where it was not (or not known to be) taken, Invalid where refused."""


class HttpSink:
    """A sink by HTTP, in binary mode; only its 2xx counts as taken."""

    def __init__(self, url: str, extensions: dict[str, str] | None = None) -> None:
        self._url = url
        self._extensions = extensions or {}
        # httpx without its upper half: an event needs no cookies, redirects or proxies, and is sent for each payment.
        self._pool = httpcore.AsyncConnectionPool(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEP_ALIVE_SECONDS)

    @classmethod
    def bound(cls) -> HttpSink:
        """The sink that a SinkBinding gave this step: K_SINK, with the extensions of K_CE_OVERRIDES."""
        overrides = json.loads(settings.text("K_CE_OVERRIDES", "{}"))
        return cls(settings.text("K_SINK"), overrides.get("extensions"))

    async def send(self, event: Event) -> None:
        """Posts the event and waits for the sink's acknowledgement."""
        event = replace(event, extensions=event.extensions | self._extensions)
        headers, body = binary_request(event)
        try:
            response = await self._pool.request(
                "POST", self._url, headers=list(headers.items()), content=body, extensions={"timeout": TIMEOUTS}
            )
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise Unavailable(f"the sink does not answer: {type(error).__name__}") from error
        status = response.status
        if 400 <= status < 500 and status not in (404, 408, 409, 429):
            raise Invalid(f"the sink refused the event: {status}")
        if not 200 <= status < 300:
            raise Unavailable(f"the sink answered {status}")

    async def close(self) -> None:
        """Ends the connections."""
        await self._pool.aclose()


class MemorySink:
    """A sink for tests: keeps what it is sent, and can be told to be down."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = False

    async def send(self, event: Event) -> None:
        """Keeps the event, or raises Unavailable while down."""
        if self.down:
            raise Unavailable("the sink is down")
        self.events.append(event)
