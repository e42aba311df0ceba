"""What many tests share: a real PostgreSQL, a place for screenshots."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from local.engines.kafka import Kafka
from local.engines.postgresql import PostgreSQL
from tests.engine import needed
from tests.running import RunningSystem

_databases = count()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio is the one event loop that codebank runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where tests leave what a person may want to look at: screenshots, logs. Kept after the run."""
    folder = Path(os.environ.get("CODEBANK_ARTIFACTS", "var/artifacts")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """A server for the whole session, tended by a loop in a thread of its own, so that any kind of test can use it."""
    folder = tmp_path_factory.mktemp("postgresql")
    log = (folder / "log").open("w", buffering=1)
    # Hundreds of databases that nobody keeps: what is tested here is not what survives a power cut.
    server = PostgreSQL(folder, lambda line: print(line, file=log), settings={"fsync": "off"})
    with start_blocking_portal() as portal:
        portal.call(server.start)
        yield server
        portal.call(server.stop)
    log.close()


@pytest.fixture
def postgres_url(postgresql: PostgreSQL) -> Callable[[str], str]:
    """Makes a new empty database of a role of its own, and answers its address."""

    def make(owner: str) -> str:
        name = f"{owner}_{next(_databases)}"
        with start_blocking_portal() as portal:
            return portal.call(postgresql.ensure_database, name, "test")

    return make


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker for the whole session; topics need names of their own. It looks for what has expired all the time."""
    folder = tmp_path_factory.mktemp("kafka")
    log = (folder / "log").open("w", buffering=1)
    eager = {"log.retention.check.interval.ms": "300", "log.initial.task.delay.ms": "300"}
    broker = Kafka(folder, lambda line: print(line, file=log), settings=eager)
    with start_blocking_portal() as portal:
        with needed("Kafka"):
            portal.call(broker.start)
        yield broker
        portal.call(broker.stop)
    log.close()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A whole running system, shared by all tests that only use it."""
    running = RunningSystem(tmp_path_factory.mktemp("system"))
    running.start()
    yield running
    running.stop()
