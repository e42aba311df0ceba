"""The client of one endpoint, against a server that answers in every way of HTTP/1.1, and in some that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from functions.runtime.endpoint import Endpoint, EndpointAway
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Peer:
    """A raw server: answers each request with the next of its scripted answers; None closes the connection instead."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/topic?of=events"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        await self._server.wait_closed()

    def drop(self) -> None:
        """Closes the connections, as a server does that is tired of idle ones."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                await self.hold.wait()
                answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
                if answer is None:
                    break
                writer.write(answer)
                if b"connection: close" in answer.lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    server = Peer()
    yield server
    await server.stop()


@pytest.fixture
async def open_endpoint() -> AsyncIterator[Callable[..., Endpoint]]:
    """Opens endpoints that are closed at the end."""
    opened: list[Endpoint] = []

    def opens(url: str, *, connections_max: int = 4, timeout_seconds: float = 30) -> Endpoint:
        opened.append(Endpoint(url, connections_max=connections_max, timeout_seconds=timeout_seconds))
        return opened[-1]

    yield opens
    for endpoint in opened:
        await endpoint.close()


async def test_a_request_is_whole_and_its_connection_is_kept(
    peer: Peer, open_endpoint: Callable[..., Endpoint]
) -> None:
    url = await peer.start()
    endpoint = open_endpoint(url)
    for _ in range(3):
        assert await endpoint.post({"ce-id": "1", "x": "é"}, b"{}") == 202
    host = url.split("/")[2]
    head = f"POST /topic?of=events HTTP/1.1\r\nhost: {host}\r\nce-id: 1\r\nx: é\r\ncontent-length: 2\r\n\r\n{{}}"
    assert peer.requests == [head.encode("latin-1")] * 3
    assert peer.connections == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 5\r\n\r\nwrong", 500),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", 202),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 202),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end", 200),
        (b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n", 200),
    ],
)
async def test_every_kind_of_answer_is_read_and_the_next_request_works(
    peer: Peer, open_endpoint: Callable[..., Endpoint], answer: bytes, status: int
) -> None:
    endpoint = open_endpoint(await peer.start())
    peer.answers = [answer]
    assert await endpoint.post({}, b"x") == status
    assert await endpoint.post({}, b"x") == 202


@pytest.mark.parametrize(
    "answer", [None, b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-le"], ids=["nothing", "nonsense", "half"]
)
async def test_no_answer_is_said_and_the_next_request_works(
    peer: Peer, open_endpoint: Callable[..., Endpoint], answer: bytes | None
) -> None:
    endpoint = open_endpoint(await peer.start())
    peer.answers = [answer + b"\r\nconnection: close" if answer else None]
    with pytest.raises(EndpointAway):
        await endpoint.post({}, b"x")
    assert await endpoint.post({}, b"x") == 202


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure(
    peer: Peer, open_endpoint: Callable[..., Endpoint]
) -> None:
    endpoint = open_endpoint(await peer.start())
    for _ in range(3):
        assert await endpoint.post({}, b"x") == 202
        peer.drop()
    assert await endpoint.post({}, b"x") == 202
    peer.answers = [None]
    assert await endpoint.post({}, b"x") == 202, "closed without a byte of an answer: it is sent again"


async def test_an_answer_that_takes_too_long_is_given_up(peer: Peer, open_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = open_endpoint(await peer.start(), timeout_seconds=0.05)
    peer.hold.clear()
    with pytest.raises(EndpointAway, match="TimeoutError"):
        await endpoint.post({}, b"x")
    peer.hold.set()
    assert await endpoint.post({}, b"x") == 202
    assert peer.connections == 2, "the late answer's connection is not used again"


async def test_no_more_connections_are_made_than_allowed(peer: Peer, open_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = open_endpoint(await peer.start(), connections_max=3)
    peer.hold.clear()
    posts = [asyncio.create_task(endpoint.post({}, b"x")) for _ in range(10)]
    await until(lambda: len(peer.requests) == 3, "as many requests as connections are under way")
    peer.hold.set()
    assert await asyncio.gather(*posts) == [202] * 10
    assert peer.connections == 3


async def test_a_cancelled_request_does_not_leave_its_answer_to_the_next_one(
    peer: Peer, open_endpoint: Callable[..., Endpoint]
) -> None:
    endpoint = open_endpoint(await peer.start(), connections_max=1)
    peer.hold.clear()
    peer.answers = [b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"]
    post = asyncio.create_task(endpoint.post({}, b"x"))
    await until(lambda: peer.requests, "the request is under way")
    post.cancel()
    await asyncio.gather(post, return_exceptions=True)
    peer.hold.set()
    assert await endpoint.post({}, b"x") == 202


async def test_a_header_with_a_line_break_is_refused(open_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = open_endpoint("http://127.0.0.1:9/")
    for value in ("a\r\nx: y", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="line break"):
            await endpoint.post({"x": value}, b"")


@pytest.mark.parametrize("url", ["", "ftp://host/", "http://", "/path"])
async def test_only_http_is_an_endpoint(open_endpoint: Callable[..., Endpoint], url: str) -> None:
    with pytest.raises(ValueError, match="not the URL"):
        open_endpoint(url)
