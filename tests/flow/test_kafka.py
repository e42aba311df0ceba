"""The promises on a real Kafka of three brokers that die: the leader and controller, then all of them for a while."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from kafka import KafkaAdminClient

from local.engines.kafka import Broker, Kafka
from tests.engine import needed
from tests.flow.books import read_books
from tests.flow.shopping import Shopper
from tests.flow.test_crash import SHOPPERS, Market, compare
from tests.running import RunningSystem
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.chaos]

OUTBOX_SECONDS_MAX = 180.0
"""What could not be published while Kafka was away is published by relay, at the next minute or the one after."""
AWAY_SECONDS = float(os.environ.get("KAFKA_AWAY_SECONDS", "15"))
"""How long all brokers are away: long enough that every client has given up once; 60 in the long run."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Kafka]:
    """Three brokers; what they say is in the file kafka.log."""
    with (tmp_path / "kafka.log").open("w", buffering=1) as log:
        kafka = Kafka(tmp_path / "kafka", lambda line: print(line, file=log), brokers=3)
        with needed("Kafka"):
            await kafka.start()
        yield kafka
        await kafka.stop()


@pytest.fixture
async def system(cluster: Kafka, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    """A system that is told where the cluster is."""
    running = RunningSystem(tmp_path, environment={"KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap_servers})
    await asyncio.to_thread(running.start)
    yield running
    assert await asyncio.to_thread(running.stop) == 0, running.tail()


def controller_of(cluster: Kafka) -> Broker:
    """The broker that controls the cluster now; it leads a third of the partitions besides."""
    admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap_servers.split(","))
    try:
        leader = admin.describe_metadata_quorum()["topics"][0]["partitions"][0]["leader_id"]
    finally:
        admin.close()
    return next(broker for broker in cluster.brokers if broker.node_id == leader)


async def killed(broker: Broker) -> None:
    os.kill(broker.pid, signal.SIGKILL)
    await broker.exited()


async def test_brokers_die_amid_orders_and_nothing_is_lost_or_done_twice(cluster: Kafka, system: RunningSystem) -> None:
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        product_ids = [product["id"] for product in await Shopper(client).products()]
    cards = [card for card in system.cards() if card["decline_code"] is None][:3]
    market = Market(system, cards, product_ids, random.Random(11))  # noqa: S311 - it chooses products
    shoppers = [asyncio.create_task(market.shop()) for _ in range(SHOPPERS)]
    await market.some_orders()

    controller = await asyncio.to_thread(controller_of, cluster)
    await killed(controller)
    await market.some_orders()
    await cluster.launch(controller)
    await controller.until_it_answers()
    await market.some_orders()

    for broker in cluster.brokers:
        await killed(broker)
    away_until = asyncio.get_running_loop().time() + AWAY_SECONDS
    # Orders do not wait for Kafka: what the bank decides lies in its outbox.
    await market.some_orders()
    await asyncio.sleep(max(0.0, away_until - asyncio.get_running_loop().time()))
    for broker in cluster.brokers:
        await cluster.launch(broker)
    for broker in cluster.brokers:
        await broker.until_it_answers()
    await market.some_orders()

    system.kill()
    await asyncio.to_thread(system.start)
    await market.some_orders()

    market.closed = True
    await asyncio.gather(*shoppers)
    async with asyncio.timeout(OUTBOX_SECONDS_MAX):
        while (await read_books(system)).unpublished:  # noqa: ASYNC110 - a database is asked
            await asyncio.sleep(1)
    await compare(system, market)

    async def posted() -> int:
        statuses = await asyncio.to_thread(system.status)
        return next(int(source["delivered"]) for source in statuses["sources"] if source["name"] == "post")

    # Everything once more, from the first event on: nothing changes.
    before = await posted()
    assert (await asyncio.to_thread(system.run, "replay", "--source", "post", "--from-offset", "0")).returncode == 0

    async def delivered_again() -> bool:
        return await posted() >= before + len(market.approved)

    await until(delivered_again, "everything is delivered again")
    await compare(system, market)
