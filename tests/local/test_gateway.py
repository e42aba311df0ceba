"""The public address: routes, limits, headers, and what is said when a part is away."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.gateway import Gateway, Route
from local.http_server import HttpServer, bind
from local.service import Service
from tests.local.conftest import ServiceMaker

pytestmark = pytest.mark.anyio


@pytest.fixture
async def service(make_service: ServiceMaker) -> Service:
    return await make_service()


@pytest.fixture
async def browser(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    routes = [
        Route(exact=b"/die", prefix=None, service=service, timeout_seconds=30),
        Route(exact=b"/hold", prefix=None, service=service, timeout_seconds=0.2),
        Route(exact=None, prefix=b"/who", service=service, timeout_seconds=30),
        Route(exact=None, prefix=b"/echo", service=service, timeout_seconds=30),
        Route(exact=None, prefix=b"/status/", service=service, timeout_seconds=30),
    ]
    gateway = Gateway(routes, lambda: {"status": "ok"})
    transport = httpx.ASGITransport(gateway, client=("203.0.113.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
        yield client


async def test_a_request_reaches_the_service_of_its_route(browser: httpx.AsyncClient, service: Service) -> None:
    answer = await browser.get("/who", params={"q": "a b"})
    assert answer.json()["pid"] == service.instances[0].process.pid


async def test_an_unknown_path_is_a_problem(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_a_caller_says_of_itself_is_replaced(browser: httpx.AsyncClient) -> None:
    claims = {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=10.0.0.1",
        "Ce-Id": "forged",
        "X-Envoy-Internal": "true",
    }
    headers = (await browser.get("/who", headers=claims)).json()["headers"]
    assert headers["x-forwarded-for"] == "203.0.113.9"
    assert headers["x-forwarded-proto"] == "http"
    assert not {"forwarded", "ce-id", "x-envoy-internal"} & headers.keys()


async def test_a_trace_begins_here_or_goes_on(browser: httpx.AsyncClient) -> None:
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert (await browser.get("/who", headers={"traceparent": given})).json()["headers"]["traceparent"] == given
    for bad in ("", "nonsense", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"):
        begun = (await browser.get("/who", headers={"traceparent": bad})).json()["headers"]["traceparent"]
        assert begun != bad
        assert len(begun) == len(given)


async def test_headers_between_neighbours_go_no_further(browser: httpx.AsyncClient) -> None:
    answer = await browser.post(
        "/echo", content=b"abc", headers={"Connection": "x-hop", "X-Hop": "1", "TE": "trailers"}
    )
    assert answer.content == b"abc"
    assert "connection" not in answer.headers
    headers = (await browser.get("/who", headers={"Connection": "x-hop", "X-Hop": "1"})).json()["headers"]
    assert "x-hop" not in headers


@pytest.mark.parametrize(
    "path", [b"/who/..", b"/./who", b"//who", b"/who/%2e%2e/x", b"/who%2Fx", b"/who\\x", b"/who%5Cx", b"/who/%00"]
)
async def test_a_path_that_could_be_read_in_two_ways_is_refused(path: bytes) -> None:
    server = HttpServer(Gateway([], lambda: {"status": "ok"}), bind(0, "a test"))
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await server.stop()
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_body_over_the_limit_is_refused(browser: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    assert (await browser.post("/echo", content=b"x" * 1_048_577)).status_code == 413
    assert (await browser.post("/echo", content=chunks())).status_code == 413
    assert (await browser.post("/echo", content=b"x" * 1_048_576)).status_code == 200


async def test_an_instance_that_dies_with_the_request_is_a_502(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/die")
    assert answer.status_code == 502
    assert answer.headers["retry-after"] == "1"


async def test_an_answer_that_takes_too_long_is_a_504(browser: httpx.AsyncClient, service: Service) -> None:
    answer = await browser.get("/hold")
    assert answer.status_code == 504
    for instance in service.instances:
        os.kill(instance.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("status", [200, 404, 409, 500])
async def test_a_service_s_own_answer_is_passed_on(browser: httpx.AsyncClient, status: int) -> None:
    answer = await browser.get(f"/status/{status}")
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (status, "because", "1")


async def test_health_is_answered_here(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/healthz")).json() == {"status": "ok"}


async def test_small_answers_do_not_wait_for_acknowledgements() -> None:
    accepted: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        transport = receive.__self__.transport  # type: ignore[attr-defined]
        accepted.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await Response()(scope, receive, send)

    server = HttpServer(application, bind(0, "a test"))
    await server.start()
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{server.port}/")
    await server.stop()
    assert accepted
    assert all(accepted)
