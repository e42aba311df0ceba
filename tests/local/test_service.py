"""A ksvc on one machine: instances come with requests, go when idle, and are replaced when they die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from local.service import Ended, Overloaded, Service, StartFailed
from tests.local.conftest import ServiceMaker
from tests.waiting import until

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 30.0


async def ask(service: Service, path: str, *, wait_seconds: float = WAIT_SECONDS) -> Any:
    headers = [(b"host", b"toy")]
    async with service.request("GET", path.encode(), headers, b"", wait_seconds=wait_seconds) as answer:
        body = b"".join([chunk async for chunk in answer.body])
        return json.loads(body) if body else answer.status


async def test_a_request_is_answered_by_the_instance_of_the_start(make_service: ServiceMaker) -> None:
    service = await make_service()
    assert (await ask(service, "/who"))["pid"] == service.instances[0].process.pid


async def test_an_idle_instance_is_stopped_and_the_next_request_starts_one(make_service: ServiceMaker) -> None:
    service = await make_service(annotations={"window": "0.2s"})
    first = service.instances[0].process.pid
    await until(lambda: not service.instances, "the idle instance ended")
    assert (await ask(service, "/who"))["pid"] != first
    assert service.restarts == 0


async def test_min_scale_keeps_an_idle_instance(make_service: ServiceMaker) -> None:
    service = await make_service(annotations={"window": "0.2s", "min-scale": "1", "max-scale": "2"}, concurrency=1)
    first = service.instances[0]
    held = asyncio.create_task(ask(service, "/hold"))
    await until(lambda: first.under_way == 1, "the first instance is taken")
    second = (await ask(service, "/who"))["pid"]
    await until(lambda: [i.process.pid for i in service.instances] == [first.process.pid], "the idle second one ended")
    os.kill(first.process.pid, signal.SIGKILL)
    with pytest.raises(Ended):
        await held
    assert second != first.process.pid


async def test_a_dead_instance_is_replaced(make_service: ServiceMaker) -> None:
    service = await make_service(annotations={"min-scale": "1"})
    first = service.instances[0].process.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: service.restarts == 1, "the end was noticed")
    assert (await ask(service, "/who"))["pid"] != first


async def test_an_instance_that_ends_with_a_request_is_said_to_have_ended(make_service: ServiceMaker) -> None:
    service = await make_service()
    with pytest.raises(Ended):
        await ask(service, "/die")


async def test_concurrency_is_limited_per_instance_and_more_instances_take_the_rest(make_service: ServiceMaker) -> None:
    service = await make_service(concurrency=2, annotations={"max-scale": "2"})
    held = [asyncio.create_task(ask(service, "/hold")) for _ in range(4)]
    await until(lambda: [i.under_way for i in service.instances] == [2, 2], "two instances with two requests each")
    with pytest.raises(Overloaded):
        await ask(service, "/who", wait_seconds=0.1)
    for instance in service.instances:
        os.kill(instance.process.pid, signal.SIGKILL)
    for outcome in await asyncio.gather(*held, return_exceptions=True):
        assert isinstance(outcome, Ended)


async def test_a_roll_replaces_instances_without_a_failed_request(make_service: ServiceMaker) -> None:
    service = await make_service(annotations={"max-scale": "1"})
    old = service.instances[0].process.pid
    asking = True
    pids = set()

    async def keep_asking() -> None:
        while asking:
            pids.add((await ask(service, "/who"))["pid"])

    requests = asyncio.create_task(keep_asking())
    await service.roll()
    await until(lambda: all(instance.process.pid != old for instance in service.instances), "the old instance ended")
    await until(lambda: len(pids) == 2, "the new instance answered")
    asking = False
    await requests


async def test_a_service_that_dies_at_its_start_says_what_it_wrote(make_service: ServiceMaker) -> None:
    service = await make_service(start=False, environment={"TOY": "broken"})
    with pytest.raises(StartFailed, match=r"toy .*status 7:\n.*no spring"):
        await service.start()
