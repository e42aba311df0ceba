"""KafkaSource: order, retries, dead letters, and offsets that follow answers."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from local import kinds
from local.cloudevent import Headers, record_of_request
from local.console import Console
from local.engines.kafka import Kafka
from local.kafka_source import UNORDERED_MAX, Answered, KafkaSource, StepSubscriber, backoff_seconds
from local.log.embedded import EmbeddedLog
from local.log.kafka import KafkaLog
from local.log.kafka_client import KafkaAddress
from local.log.port import GroupActive, Log, LogUnavailable, Topic
from tests.local.conftest import ServiceMaker
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
        self.retry_after: float | None = None
        self.times: list[float] = []

    async def post(self, headers: Headers, body: bytes, timeout_seconds: float) -> Answer:
        attributes = {name.decode(): value.decode() for name, value in headers}
        self.posted.append((attributes, body))
        self.times.append(time.monotonic())
        if gate := self.gates.get(attributes["ce-id"]):
            await gate.wait()
        answers = self.answers[attributes["ce-id"]]
        return (answers.pop(0) if answers else 200), b"the reason", self.retry_after

    def ids(self) -> list[str]:
        return [attributes["ce-id"] for attributes, _ in self.posted]


def manifest(retry: int = 3, **spec: object) -> kinds.KafkaSource:
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
            }
            | spec,
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


async def append(log: Log, event_id: str, key: str, topic: str = "t") -> int:
    headers = [
        (b"ce-specversion", b"1.0"),
        (b"ce-id", event_id.encode()),
        (b"ce-type", b"t"),
        (b"ce-source", b"/s"),
        (b"ce-partitionkey", key.encode()),
        (b"content-type", b"application/json"),
    ]
    partition, _ = await log.append(topic, record_of_request(headers, b"{}"))
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


async def caught_up(log: Log, group: str = "g", topic: str = "t") -> None:
    async def no_lag() -> bool:
        return (await log.lag(group, topic)).records == 0

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


@pytest.mark.parametrize(
    ("order", "commits"),
    [
        ([0, 1, 2], [1, 2, 3]),
        ([2, 1, 0], [None, None, 3]),
        ([1, 0, 2], [None, 2, 3]),
        ([0, 2, 1], [1, None, 3]),
    ],
)
def test_answers_out_of_order_never_commit_past_a_hole(order: list[int], commits: list[int | None]) -> None:
    answered = Answered()
    for offset in range(3):
        answered.read(offset)
    assert [answered.answer(offset) for offset in order] == commits
    assert len(answered) == 0


async def test_unordered_events_pass_one_that_waits_and_the_offset_waits_with_it(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    step.gates["slow"] = asyncio.Event()
    await append(log, "slow", "k")
    count = UNORDERED_MAX + 20
    for number in range(count):
        await append(log, f"{number}", "k")
    unordered = manifest(ordering="unordered")
    async with running(KafkaSource(unordered, log, step, dead, console)):
        await until(lambda: len(step.posted) == count + 1, "all are delivered but the one that waits")
        assert (await log.lag("g", "t")).records == count + 1
    # The crash lost nothing: what was not committed comes again, the slow one too.
    step.gates["slow"].set()
    async with running(KafkaSource(unordered, log, step, dead, console)):
        await caught_up(log)
    assert step.ids().count("slow") == 2


async def test_several_consumers_share_the_partitions(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    for number in range(30):
        await append(log, f"{number:02}", f"card{number % 10}")
    source = KafkaSource(manifest(consumers=3), log, step, dead, console)
    async with running(source):
        await caught_up(log)
    assert set(step.ids()) == {f"{number:02}" for number in range(30)}


async def test_what_was_delivered_is_delivered_again_when_it_is_asked_for(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    for number in range(5):
        await append(log, f"{number}", "k")
    source = KafkaSource(manifest(), log, step, dead, console)
    async with running(source):
        await caught_up(log)
        assert await source.rewind(2) == 3
        await caught_up(log)
        await append(log, "after", "k")
        await until(lambda: "after" in step.ids(), "the source goes on")
        assert await source.rewind(dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)) == 0
    assert step.ids() == ["0", "1", "2", "3", "4", "2", "3", "4", "after"]


async def test_a_group_that_others_read_is_not_rewound_and_the_source_goes_on(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    other = KafkaSource(manifest(), log, Recorder("other"), dead, console)
    source = KafkaSource(manifest(), log, step, dead, console)
    async with running(other), running(source):
        for number in range(20):
            await append(log, f"{number}", f"{number}")
        await caught_up(log)
        with pytest.raises(GroupActive):
            await source.rewind(0)
        for number in range(20, 40):
            await append(log, f"{number}", f"{number}")
        await until(lambda: any(int(event_id) >= 20 for event_id in step.ids()), "the source goes on")


async def test_retry_after_is_waited_for(log: Log, step: Recorder, dead: Recorder, console: Console) -> None:
    step.answers["e"] = [503]
    step.retry_after = 0.5
    await append(log, "e", "k")
    async with running(KafkaSource(manifest(), log, step, dead, console)):
        await caught_up(log)
    first, second = step.times
    assert second - first >= 0.5


async def test_a_flood_of_poison_does_not_hold_up_what_is_behind_it(
    log: Log, step: Recorder, dead: Recorder, console: Console
) -> None:
    poison = 300
    for number in range(poison):
        step.answers[f"poison-{number}"] = [422]
    await asyncio.gather(*(append(log, f"poison-{number}", "k") for number in range(poison)))
    await append(log, "good", "k")
    source = KafkaSource(manifest(), log, step, dead, console)
    async with running(source):
        await caught_up(log)
    assert source.dead_lettered == len(dead.posted) == poison
    assert step.ids()[-1] == "good"


async def test_on_kafka_a_new_member_takes_over_in_the_middle_and_nothing_is_lost(
    kafka: Kafka, dead: Recorder, console: Console
) -> None:
    topic, group = f"t-{uuid.uuid4()}", f"g-{uuid.uuid4()}"
    async with KafkaLog.open(KafkaAddress((kafka.bootstrap_servers,))) as log:
        await log.create(Topic(topic, partitions=3))
        steps = [Recorder("step"), Recorder("step")]
        sources = [KafkaSource(manifest(topics=[topic], consumerGroup=group), log, s, dead, console) for s in steps]
        steps[0].gates["0"] = asyncio.Event()
        for number in range(30):
            await append(log, f"{number}", f"{number}", topic)
        async with running(sources[0]):
            await until(lambda: len(steps[0].posted) > 10, "the first delivers, and waits for one answer")
            async with running(sources[1]):
                await until(lambda: steps[1].posted or sources[0].delivered >= 29, "the second has joined")
                steps[0].gates["0"].set()
                for number in range(30, 60):
                    await append(log, f"{number}", f"{number}", topic)
                await caught_up(log, group, topic)
        assert {*steps[0].ids(), *steps[1].ids()} == {f"{number}" for number in range(60)}


async def test_a_crash_between_the_answer_and_the_commit_delivers_again_and_loses_nothing(
    postgres_url: Callable[[str], str], step: Recorder, dead: Recorder, console: Console
) -> None:
    url = postgres_url("log")
    async with EmbeddedLog.open(url) as log:
        await log.create(Topic("t", partitions=1))
        for number in range(3):
            await append(log, f"{number}", "k")
        commit = EmbeddedLog._commit

        async def never(self: EmbeddedLog, *arguments: object) -> None:
            await asyncio.Event().wait()

        EmbeddedLog._commit = never  # type: ignore[assignment,method-assign]
        try:
            async with running(KafkaSource(manifest(), log, step, dead, console)):
                await until(lambda: len(step.posted) == 3, "all were answered, and nothing is committed")
        finally:
            EmbeddedLog._commit = commit  # type: ignore[method-assign]
    async with EmbeddedLog.open(url) as log, running(KafkaSource(manifest(), log, step, dead, console)):
        await caught_up(log)
    assert step.ids() == ["0", "1", "2"] * 2


async def test_a_full_disk_is_told_to_who_appends_and_passes_when_there_is_room(
    postgres_url: Callable[[str], str], step: Recorder, dead: Recorder, console: Console
) -> None:
    url = postgres_url("log")
    async with EmbeddedLog.open(url) as log:
        await log.create(Topic("t", partitions=1))
        database = await asyncpg.connect(url)
        # PostgreSQL itself says that its disk is full, in the words it has for that.
        await database.execute(
            "create function full_disk() returns trigger language plpgsql as"
            " $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$"
        )
        await database.execute(
            "create trigger full_disk before insert on record for each statement execute function full_disk()"
        )
        async with running(KafkaSource(manifest(), log, step, dead, console)):
            with pytest.raises(LogUnavailable):
                await append(log, "lost", "k")
            await database.execute("drop trigger full_disk on record")
            await append(log, "kept", "k")
            await caught_up(log)
        await database.close()
    assert step.ids() == ["kept"]


async def test_a_step_that_hangs_is_no_answer_and_the_next_try_may_reach_it(make_service: ServiceMaker) -> None:
    service = await make_service()
    subscriber = StepSubscriber(service)
    pid = service.instances[0].process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        status, reason, _ = await subscriber.post([(b"ce-id", b"1")], b"{}", 0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (status, reason) == (0, b"toy did not answer within 0 s")
    assert (await subscriber.post([(b"ce-id", b"1")], b"{}", 10))[0] == 404
