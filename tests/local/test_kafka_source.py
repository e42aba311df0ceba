"""KafkaSource: order, retries, dead letters, and offsets that follow answers."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from local import kinds
from local.cloudevent import Headers, record_of_request
from local.console import Console
from local.kafka_source import KafkaSource, backoff_seconds
from local.log.embedded import EmbeddedLog
from local.log.port import Log, Topic
from tests.waiting import until

pytestmark = pytest.mark.anyio

Answer = tuple[int, bytes, float | None]


class Recorder:
    """A subscriber that keeps what it is posted and answers as it is told: 200 unless the answers say otherwise."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.posted: list[tuple[dict[str, str], bytes]] = []
        self.answers: dict[str, list[int]] = defaultdict(list)
        self.gates: dict[str, asyncio.Event] = {}

    async def post(self, headers: Headers, body: bytes, timeout_seconds: float) -> Answer:
        attributes = {name.decode(): value.decode() for name, value in headers}
        self.posted.append((attributes, body))
        if gate := self.gates.get(attributes["ce-id"]):
            await gate.wait()
        answers = self.answers[attributes["ce-id"]]
        return (answers.pop(0) if answers else 200), b"the reason", None

    def ids(self) -> list[str]:
        return [attributes["ce-id"] for attributes, _ in self.posted]


def manifest(retry: int = 3) -> kinds.KafkaSource:
    sink = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "step"}}
    return kinds.KafkaSource.model_validate(
        {
            "apiVersion": "sources.knative.dev/v1beta1",
            "kind": "KafkaSource",
            "metadata": {"name": "source"},
            "spec": {
                "bootstrapServers": ["kafka:9092"],
                "topics": ["t"],
                "consumerGroup": "g",
                "initialOffset": "earliest",
                "ordering": "ordered",
                "delivery": {
                    "retry": retry,
                    "backoffPolicy": "exponential",
                    "backoffDelay": "PT0.01S",
                    "timeout": "PT5S",
                    "deadLetterSink": sink,
                },
                "sink": sink,
            },
        }
    )


@pytest.fixture
async def log(postgres_url: Callable[[str], str]) -> AsyncIterator[Log]:
    async with EmbeddedLog.open(postgres_url("log")) as opened:
        await opened.create(Topic("t", partitions=3))
        yield opened


@pytest.fixture
def step() -> Recorder:
    return Recorder("step")


@pytest.fixture
def dead() -> Recorder:
    return Recorder("dead")


async def append(log: Log, event_id: str, key: str) -> int:
    headers = [
        (b"ce-specversion", b"1.0"),
        (b"ce-id", event_id.encode()),
        (b"ce-type", b"t"),
        (b"ce-source", b"/s"),
        (b"ce-partitionkey", key.encode()),
        (b"content-type", b"application/json"),
    ]
    partition, _ = await log.append("t", record_of_request(headers, b"{}"))
    return partition


@asynccontextmanager
async def running(source: KafkaSource) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run())
    try:
        yield
        if task.done():
            await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def caught_up(log: Log) -> None:
    async def no_lag() -> bool:
        return (await log.lag("g", "t")).records == 0

    await until(no_lag, "the group has committed everything")


async def test_events_of_a_key_arrive_in_order_one_at_a_time(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    for number in range(30):
        await append(log, f"{number:02}", f"card{number % 3}")
    async with running(KafkaSource(manifest(), log, step, dead, console)):
        await caught_up(log)
    for card in range(3):
        own = [event_id for event_id in step.ids() if int(event_id) % 3 == card]
        assert own == sorted(own)
    assert sorted(step.ids()) == [f"{number:02}" for number in range(30)]


async def test_a_partition_waits_for_its_answer_and_others_go_on(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    step.gates["first"] = asyncio.Event()
    blocked = await append(log, "first", "a")
    await append(log, "second", "a")
    partitions = {key: await append(log, f"of-{key}", key) for key in "bcdefgh"}
    other = next(key for key, partition in partitions.items() if partition != blocked)
    async with running(KafkaSource(manifest(), log, step, dead, console)):
        await until(lambda: f"of-{other}" in step.ids(), "another partition's event was delivered")
        assert "second" not in step.ids()
        step.gates["first"].set()
        await caught_up(log)
    assert step.ids().index("second") > step.ids().index("first")


@pytest.mark.parametrize("status", [0, 404, 408, 409, 429, 500, 503])
async def test_what_may_pass_is_tried_again(
    status: int, log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    step.answers["e"] = [status, status]
    await append(log, "e", "k")
    source = KafkaSource(manifest(retry=2), log, step, dead, console)
    async with running(source):
        await caught_up(log)
    assert step.ids() == ["e", "e", "e"]
    assert dead.posted == []
    assert (source.delivered, source.retried, source.dead_lettered) == (1, 2, 0)


@pytest.mark.parametrize("status", [400, 401, 413, 422])
async def test_what_is_refused_is_a_dead_letter_at_once_and_does_not_block(
    status: int, log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    step.answers["poison"] = [status]
    await append(log, "poison", "k")
    await append(log, "next", "k")
    async with running(KafkaSource(manifest(), log, step, dead, console)):
        await caught_up(log)
    assert step.ids() == ["poison", "next"]
    attributes, body = dead.posted[0]
    assert attributes["ce-id"] == "poison"
    assert attributes["ce-knativeerrordest"] == "step"
    assert attributes["ce-knativeerrorcode"] == str(status)
    assert attributes["ce-knativeerrordata"] == "the%20reason"
    assert body == b"{}"


async def test_what_never_passes_is_a_dead_letter_after_its_retries(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    step.answers["e"] = [503] * 3
    await append(log, "e", "k")
    async with running(KafkaSource(manifest(retry=2), log, step, dead, console)):
        await caught_up(log)
    assert step.ids() == ["e"] * 3
    assert dead.ids() == ["e"]


async def test_a_dead_letter_is_kept_until_its_sink_takes_it(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    step.answers["e"] = [422]
    dead.answers["e"] = [503, 0, 503]
    await append(log, "e", "k")
    async with running(KafkaSource(manifest(), log, step, dead, console)):
        await caught_up(log)
    assert dead.ids() == ["e"] * 4


async def test_an_event_that_was_not_answered_is_delivered_again_after_a_restart(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    step.gates["e"] = asyncio.Event()
    await append(log, "e", "k")
    async with running(KafkaSource(manifest(), log, step, dead, console)):
        await until(lambda: step.ids() == ["e"], "the event was posted")
    step.gates["e"].set()
    async with running(KafkaSource(manifest(), log, step, dead, console)):
        await caught_up(log)
    assert step.ids() == ["e", "e"]


@pytest.mark.parametrize(
    ("policy", "expected"), [("exponential", [0.5, 1.0, 2.0, 4.0]), ("linear", [0.5, 1.0, 1.5, 2.0])]
)
def test_backoff_grows_as_its_policy_says(policy: str, expected: list[float]) -> None:
    delivery = manifest().spec.delivery.model_copy(
        update={"backoffPolicy": policy, "backoffDelay": dt.timedelta(seconds=0.5)}
    )
    assert [backoff_seconds(delivery, attempt) for attempt in (1, 2, 3, 4)] == expected
    assert backoff_seconds(delivery, 1, retry_after=7.0) == 7.0
    assert backoff_seconds(delivery, 50) <= 300
