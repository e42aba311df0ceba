"""A real Kafka: it starts, keeps what it has, and leaves nobody behind."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from local.engines.engine import EngineError, runs_with
from local.engines.kafka import Kafka
from local.log.kafka import KafkaLog
from local.log.kafka_client import KafkaAddress
from local.log.port import Record, Topic
from local.process import ROOT
from tests.engine import needed
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_what_it_has_is_there_after_a_restart(tmp_path: Path) -> None:
    kafka = Kafka(tmp_path, print)
    with needed("Kafka"):
        await kafka.start()
    try:
        async with KafkaLog.open(KafkaAddress((kafka.bootstrap_servers,))) as log:
            await log.create(Topic("kept", 2))
            await log.append("kept", Record(b"x", b"k"))
        await kafka.stop()
        await kafka.start()
        async with KafkaLog.open(KafkaAddress((kafka.bootstrap_servers,))) as log:
            assert await log.size("kept") == 1
    finally:
        await kafka.stop()


async def test_a_broker_that_its_supervisor_left_behind_is_ended_and_its_folder_taken_over(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.local.engines.starter", str(tmp_path)]
    starter = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert starter.stdout is not None
    line = (await starter.stdout.readline()).decode().strip()
    if not line.isdigit():
        await starter.wait()
        with needed("Kafka"):
            raise EngineError(line)
    starter.kill()
    await starter.wait()
    told: list[str] = []
    kafka = Kafka(tmp_path, told.append)
    await kafka.start()
    await kafka.stop()
    properties = str(tmp_path / "broker-1" / "server.properties")
    await until(lambda: not runs_with(int(line), properties), "the one that was left has ended")


async def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    told: list[str] = []
    kafka = Kafka(tmp_path, told.append, settings={"num.io.threads": "many"})
    with needed("Kafka"):
        try:
            await kafka.start()
        except EngineError as error:
            assert "num.io.threads" in str(error) + " ".join(told)  # noqa: PT017 - or it is about something missing
        else:
            await kafka.stop()
            pytest.fail("it started")
