"""The public address: the Gateway and VirtualServices of istio/, as Istio's ingress applies them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from functions.runtime import trace
from functions.runtime.limit import BODY_BYTES_MAX, BODY_SECONDS_MAX, Oversize, TooSlow, read_whole_body
from functions.runtime.problem import problem
from local import kinds
from local.service import Ended, Overloaded, Service

# RFC 9110 §7.6.1: these are between two neighbours and go no further.
HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
# What only the gateway may say; a caller's own word for it is dropped. Events from outside are not events.
RESERVED: Final = re.compile(rb"x-forwarded-.*|forwarded|x-real-ip|ce-.*|k-.*|knative-.*|x-envoy-.*")
# A path that two programs could read differently.
AMBIGUOUS: Final = re.compile(rb"//|\\|%2f|%5c|%00|%2e|(^|/)\.{1,2}(/|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Route:
    """One route of a VirtualService, with the service that it leads to."""

    exact: bytes | None
    prefix: bytes | None
    service: Service
    timeout_seconds: float

    def matches(self, path: bytes) -> bool:
        """Whether the path is this route's. As in Istio, a prefix is one of characters."""
        return path == self.exact if self.exact is not None else path.startswith(self.prefix or b"/")


def routes_of(virtual_services: Iterable[kinds.VirtualService], services: Mapping[str, Service]) -> list[Route]:
    """The routes in order. A rewritten authority (service.namespace.svc.cluster.local) tells Knative the service."""
    return [
        Route(
            exact=match.uri.exact.encode() if match.uri.exact is not None else None,
            prefix=match.uri.prefix.encode() if match.uri.prefix is not None else None,
            service=services[route.rewrite.authority.partition(".")[0]],
            timeout_seconds=route.timeout.total_seconds(),
        )
        for virtual_service in virtual_services
        for route in virtual_service.spec.http
        for match in route.match
    ]


class Gateway:
    """The ASGI application of the public address."""

    def __init__(self, routes: list[Route], health: Callable[[], Mapping[str, Any]]) -> None:
        self._routes = routes
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            return
        path: bytes = scope["raw_path"]
        if path == b"/healthz":
            health = self._health()
            status = HTTPStatus.OK if health["status"] == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
            await JSONResponse(health, status)(scope, receive, send)
            return
        if AMBIGUOUS.search(path):
            await problem(HTTPStatus.BAD_REQUEST, "The path is ambiguous.")(scope, receive, send)
            return
        route = next((route for route in self._routes if route.matches(path)), None)
        if route is None:
            await problem(HTTPStatus.NOT_FOUND, "There is nothing at this address.")(scope, receive, send)
            return
        try:
            body = await read_whole_body(scope, receive)
        except Oversize:
            detail = f"The body is larger than {BODY_BYTES_MAX} bytes."
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)(scope, receive, send)
        except TooSlow:
            detail = f"The body did not arrive within {BODY_SECONDS_MAX:.0f} s."
            await problem(HTTPStatus.REQUEST_TIMEOUT, detail)(scope, receive, send)
        else:
            if body is not None:
                await self._forward(route, scope, body, receive, send)

    async def _forward(self, route: Route, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        target: bytes = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = _forwarded_headers(scope, body)
        begun = False
        try:
            async with (
                asyncio.timeout(route.timeout_seconds),
                route.service.request(
                    scope["method"], target, headers, body, wait_seconds=route.timeout_seconds
                ) as answer,
            ):
                kept = [(name, value) for name, value in answer.headers if name.lower() not in HOP_BY_HOP]
                begun = True
                await send({"type": "http.response.start", "status": answer.status, "headers": kept})
                async for chunk in answer.body:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (Overloaded, Ended, TimeoutError) as error:
            if begun:
                raise  # Half an answer is cut off: uvicorn closes the connection, so the caller knows.
            await _failure(error)(scope, receive, send)


def _failure(error: Exception) -> Any:
    retry = {"Retry-After": "1"}
    if isinstance(error, Overloaded):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "This part of the shop is not there right now.", headers=retry)
    if isinstance(error, Ended):
        return problem(HTTPStatus.BAD_GATEWAY, "The connection was lost before the answer came.", headers=retry)
    return problem(HTTPStatus.GATEWAY_TIMEOUT, "The answer took too long.", headers=retry)


def _forwarded_headers(scope: Scope, body: bytes) -> list[tuple[bytes, bytes]]:
    named = {
        name.strip().lower() for key, value in scope["headers"] if key == b"connection" for name in value.split(b",")
    }
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in HOP_BY_HOP | named and name != b"content-length" and not RESERVED.fullmatch(name)
    ]
    given = dict(headers)
    traceparent = trace.enter(given.get(b"traceparent", b"").decode("latin-1") or None)
    headers = [(name, value) for name, value in headers if name != b"traceparent"]
    client = scope["client"][0] if scope["client"] else "unknown"
    headers += [
        (b"traceparent", traceparent.encode()),
        (b"x-forwarded-for", client.encode()),
        (b"x-forwarded-proto", scope["scheme"].encode()),
    ]
    if body or scope["method"] in ("POST", "PUT", "PATCH"):
        headers.append((b"content-length", str(len(body)).encode()))
    return headers
