"""relay: started by a ping, it publishes what was left."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.runtime.event import Event
from local.http_server import HttpServer, bind
from tests.functions.bank.desk import Desk
from tests.functions.steps import Serve, StepProcess, deliver

pytestmark = pytest.mark.anyio

PING = Event("1", "/apis/v1/namespaces/codebank/pingsources/relay", "dev.knative.sources.ping", data=b"{}")


class Topic:
    """A sink by HTTP that can be away."""

    def __init__(self) -> None:
        self.status = 202
        self.taken: list[str] = []
        self.application = Starlette(routes=[Route("/", self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        if self.status == 202:
            self.taken.append(request.headers["ce-id"])
        return Response(status_code=self.status)


@pytest.fixture
async def topic(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Topic]:
    taking = Topic()
    serving = HttpServer(taking.application, bind(0, "a test"))
    await serving.start()
    monkeypatch.setenv("K_SINK", f"http://127.0.0.1:{serving.port}/")
    yield taking
    await serving.stop()


@pytest.fixture
async def relay(desk: Desk, bank_url: str, topic: Topic, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> StepProcess:
    """The step as a process of its own, by its manifest."""
    monkeypatch.setenv("BANK_DATABASE_URL", bank_url)
    return await serve("relay")


async def test_a_ping_publishes_what_is_left_and_answers_503_while_the_sink_is_away(
    desk: Desk, relay: StepProcess, topic: Topic
) -> None:
    proof, _ = await desk.issue()
    for _ in range(3):
        await desk.merchant.pay(proof)
    topic.status = 503
    assert (await deliver(relay.client, PING)).status_code == 503
    assert await desk.value("select count(*) from outbox where sent_at is null") == 3
    topic.status = 202
    for _ in range(2):
        assert (await deliver(relay.client, PING)).status_code == 200
        assert len(topic.taken) == 3
        assert await desk.value("select count(*) from outbox where sent_at is null") == 0
    other = Event("1", "/x", "codebank.payment.approved.v1", data=b"{}")
    assert (await deliver(relay.client, other)).status_code == 422, "it is started by pings alone"
