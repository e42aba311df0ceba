"""KafkaSink: 202 after the log has the event, a refusal for what is not an event, 503 while the log is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from local.kafka_sink import KafkaSinks
from local.log.embedded import EmbeddedLog
from local.log.port import Log, LogUnavailable, Record, Topic

pytestmark = pytest.mark.anyio

EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/s",
    "ce-type": "t",
    "ce-partitionkey": "card",
    "ce-subject": "caf%C3%A9",
    "content-type": "application/json",
}


@pytest.fixture
async def log(postgres_url: Callable[[str], str]) -> AsyncIterator[EmbeddedLog]:
    async with EmbeddedLog.open(postgres_url("log")) as opened:
        await opened.create(Topic("t", partitions=3))
        yield opened


def client(log: Log) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(KafkaSinks(log, {"/codebank/sink": "t"}))
    return httpx.AsyncClient(transport=transport, base_url="http://sink")


async def test_an_event_is_on_the_log_when_it_is_accepted(log: EmbeddedLog) -> None:
    answer = await client(log).post("/codebank/sink", headers=EVENT, content=b'{"a": 1}')
    assert answer.status_code == 202
    subscription = await log.subscribe("g", "t", "earliest")
    record = (await subscription.poll(frozenset()))[0].record
    assert (record.key, record.value) == (b"card", b'{"a": 1}')
    headers = dict(record.headers)
    assert headers["ce_id"] == b"1"
    assert headers["ce_subject"] == "café".encode()
    assert headers["content-type"] == b"application/json"


@pytest.mark.parametrize("missing", ["ce-id", "ce-source", "ce-type", "ce-specversion"])
async def test_what_lacks_a_required_attribute_is_refused(log: EmbeddedLog, missing: str) -> None:
    headers = {name: value for name, value in EVENT.items() if name != missing}
    answer = await client(log).post("/codebank/sink", headers=headers, content=b"{}")
    assert answer.status_code == 400
    assert missing.removeprefix("ce-") in answer.json()["detail"]
    assert await log.size("t") == 0


@pytest.mark.parametrize("attribute", [{"ce-specversion": "0.3"}, {"ce-bad_name": "x"}, {"ce-subject": "%ff"}])
async def test_what_breaks_the_specification_is_refused(log: EmbeddedLog, attribute: dict[str, str]) -> None:
    answer = await client(log).post("/codebank/sink", headers=EVENT | attribute, content=b"{}")
    assert answer.status_code == 400
    assert await log.size("t") == 0


async def test_an_oversize_event_is_refused(log: EmbeddedLog) -> None:
    answer = await client(log).post("/codebank/sink", headers=EVENT, content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413


async def test_only_post_and_only_known_sinks_are_answered(log: EmbeddedLog) -> None:
    assert (await client(log).get("/codebank/sink")).status_code == 405
    assert (await client(log).post("/codebank/other", headers=EVENT)).status_code == 404


class AwayLog(EmbeddedLog):
    """A log that is away."""

    def __init__(self) -> None:
        """Connects to nothing."""

    async def append(self, topic: str, record: Record) -> tuple[int, int]:
        raise LogUnavailable("away")


async def test_while_the_log_is_away_the_sender_is_told_to_come_back() -> None:
    answer = await client(AwayLog()).post("/codebank/sink", headers=EVENT, content=b"{}")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
