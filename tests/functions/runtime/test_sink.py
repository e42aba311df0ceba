"""A sink's answer decides whether an event was taken."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.domain.error import Invalid, Unavailable
from functions.runtime.event import Event
from functions.runtime.sink import HttpSink, MemorySink
from local.http_server import HttpServer, bind

pytestmark = pytest.mark.anyio

EVENT = Event("1", "/s", "t", data=b"{}", extensions={"partitionkey": "k"})


class Endpoint:
    """A sink that answers as it is told."""

    def __init__(self) -> None:
        self.status = 202
        self.headers: list[dict[str, str]] = []
        self.application = Starlette(routes=[Route("/", self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        return Response(status_code=self.status)


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, str]]:
    taking = Endpoint()
    server = HttpServer(taking.application, bind(0, "a test"))
    await server.start()
    yield taking, f"http://127.0.0.1:{server.port}/"
    await server.stop()


async def test_an_event_is_sent_with_the_bindings_extensions(
    endpoint: tuple[Endpoint, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taking, url = endpoint
    monkeypatch.setenv("K_SINK", url)
    monkeypatch.setenv("K_CE_OVERRIDES", '{"extensions": {"region": "south"}}')
    sink = HttpSink.bound()
    await sink.send(EVENT)
    await sink.close()
    (headers,) = taking.headers
    assert (headers["ce-id"], headers["ce-partitionkey"], headers["ce-region"]) == ("1", "k", "south")


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Invalid), (413, Invalid), (404, Unavailable), (429, Unavailable), (500, Unavailable), (503, Unavailable)],
)
async def test_only_a_2xx_means_taken(endpoint: tuple[Endpoint, str], status: int, error: type[Exception]) -> None:
    taking, url = endpoint
    taking.status = status
    sink = HttpSink(url)
    with pytest.raises(error):
        await sink.send(EVENT)
    await sink.close()


async def test_a_sink_that_is_away_is_unavailable() -> None:
    listener = bind(0, "a test")
    port = listener.getsockname()[1]
    listener.close()
    sink = HttpSink(f"http://127.0.0.1:{port}/")
    with pytest.raises(Unavailable):
        await sink.send(EVENT)
    await sink.close()


async def test_the_memory_sink_does_as_a_sink_does() -> None:
    sink = MemorySink()
    await sink.send(EVENT)
    sink.down = True
    with pytest.raises(Unavailable):
        await sink.send(EVENT)
    assert sink.events == [EVENT]
