"""The bank as a process: started before its database, drained, killed in the middle of everything."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.bank import audit
from functions.bank.cards import Cards
from functions.bank.database import Database
from functions.bank.keys import KeyFile
from functions.bank.payments import now_utc
from functions.bank.token import Caller, Role, caller_token
from functions.domain.card import Brand
from functions.runtime import database
from functions.runtime.migrate import migrate
from local.engines.engine import free_port
from local.http_server import HttpServer, bind
from protos.codebank.bank.v1 import bank_pb2 as pb
from tests.functions.bank.desk import Client, code_of, pay_request, together
from tests.functions.bank.wire import Wire
from tests.waiting import until

pytestmark = pytest.mark.anyio

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Topic:
    """A sink by HTTP that remembers what it took, in order."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.application = Starlette(routes=[Route("/", self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        self.taken.append((request.headers["ce-partitionkey"], request.headers["ce-subject"]))
        return Response(status_code=202)


class BankProcess:
    """`python -m functions.bank.bank` with settings of its own."""

    def __init__(self, url: str, keys_path: Path, sink: str, output: Path) -> None:
        self.port = free_port()
        self._settings = {
            "BANK_DATABASE_URL": url,
            "BANK_KEYS_FILE": str(keys_path),
            "K_SINK": sink,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }
        self._output = output
        token = caller_token(
            KeyFile(keys_path).keyring, Caller(Role.MERCHANT, "shop"), now_utc(), dt.timedelta(hours=1)
        )
        self.client = Client(f"127.0.0.1:{self.port}", token)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, **settings: str) -> None:
        """Starts it; it need not be ready."""
        with self._output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "functions.bank.bank"),
                env=os.environ | self._settings | settings,
                stdout=output,
                stderr=output,
            )

    async def health(self) -> int | None:
        """What it says of itself; None while it does not listen."""
        stub: Any = health_pb2_grpc.HealthStub(self.client.channel)
        [answer] = await together(stub.Check(health_pb2.HealthCheckRequest(), timeout=5))
        return answer.status if code_of(answer) is grpc.StatusCode.OK else None

    async def ready(self) -> None:
        """Waits until it serves."""

        async def serves() -> bool:
            return await self.health() == SERVING

        await until(serves, f"the bank serves; {self._output.read_text()[-2000:]}")

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its status, once it has ended."""
        assert self._process is not None
        return await self._process.wait()

    async def close(self) -> None:
        """Ends it."""
        await self.client.close()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def output(self) -> str:
        """What it has written."""
        return self._output.read_text()


@pytest.fixture
async def topic() -> AsyncIterator[tuple[Topic, str]]:
    taking = Topic()
    serving = HttpServer(taking.application, bind(0, "a test"))
    await serving.start()
    yield taking, f"http://127.0.0.1:{serving.port}/"
    await serving.stop()


@pytest.fixture
async def process(
    bank_url: str, keys_path: Path, topic: tuple[Topic, str], tmp_path: Path
) -> AsyncIterator[BankProcess]:
    """A bank that serves."""
    started = BankProcess(bank_url, keys_path, topic[1], tmp_path / "output")
    await started.start()
    await started.ready()
    yield started
    await started.close()


async def issue(url: str, keys_path: Path, limit_minor: int = 10**6) -> tuple[Any, Any]:
    """A new card, by the side of the bank."""
    owned = Database(url, 2)
    issued = await Cards(owned, KeyFile(keys_path)).issue("Ana", "BRL", limit_minor, Brand.VISA)
    await owned.close()
    return issued.proof, issued.card


async def test_it_starts_before_its_database_and_serves_once_that_is_migrated(
    postgres_url: Callable[[str], str], keys_path: Path, tmp_path: Path
) -> None:
    url = postgres_url("bank")
    wire = Wire(url)
    await wire.connect()
    await wire.cut()
    bank = BankProcess(wire.url, keys_path, "http://127.0.0.1:9/", tmp_path / "output")
    await bank.start()
    try:

        async def listens() -> bool:
            return await bank.health() == NOT_SERVING

        await until(listens, "it listens and is not ready")
        await wire.connect()
        await until(lambda: "has not been migrated" in bank.output, "it finds no tables")
        assert await bank.health() == NOT_SERVING
        owner = database.Database(url)
        await migrate("bank", owner)
        await owner.close()
        await bank.ready()
    finally:
        await bank.close()
        await wire.cut()


async def test_sigterm_drains_accepted_calls_finish_and_new_ones_are_refused(
    process: BankProcess, bank_url: str, keys_path: Path, topic: tuple[Topic, str]
) -> None:
    proof, card = await issue(bank_url, keys_path)
    blocker = await asyncpg.connect(bank_url)
    await blocker.execute("begin")
    await blocker.fetch("select from cards where token = $1 for update", card.token)
    accepted = asyncio.create_task(process.client.call("Pay", pay_request(proof)))

    async def waits() -> Any:
        return await blocker.fetchval("select count(*) from pg_locks where not granted")

    await until(waits, "the payment waits for its card")
    process.signal(signal.SIGTERM)

    async def refuses() -> bool:
        newcomer = Client(f"127.0.0.1:{process.port}")
        [answer] = await together(newcomer.call("GetJsonWebKeySet", pb.GetJsonWebKeySetRequest(), timeout=2))
        await newcomer.close()
        return code_of(answer) is grpc.StatusCode.UNAVAILABLE

    await until(refuses, "new calls are refused")
    assert not accepted.done()
    await blocker.execute("rollback")
    assert (await accepted).status == pb.TRANSACTION_STATUS_APPROVED
    assert await process.ended() == 0
    assert [subject for _, subject in topic[0].taken] == [accepted.result().id], "what it decided last is announced"
    await blocker.close()
    assert "Traceback" not in process.output


async def test_killed_in_the_middle_of_payments_it_loses_and_repeats_nothing(
    process: BankProcess, bank_url: str, keys_path: Path, topic: tuple[Topic, str]
) -> None:
    cards = [await issue(bank_url, keys_path) for _ in range(4)]
    answers: dict[str, pb.Transaction] = {}
    done = asyncio.Event()

    async def shopper(proof: Any) -> None:
        while not done.is_set():
            request = pay_request(proof, 1)
            while request.idempotency_key not in answers:
                [answer] = await together(process.client.call("Pay", request, timeout=5))
                if code_of(answer) is grpc.StatusCode.OK:
                    answers[request.idempotency_key] = answer
                else:
                    assert code_of(answer) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), answer
                    await asyncio.sleep(0.01)

    shoppers = [asyncio.create_task(shopper(proof)) for proof, _ in cards for _ in range(4)]
    for _ in range(3):
        seen = len(answers)

        def more(seen: int = seen) -> bool:
            return len(answers) > seen + 50

        await until(more, "payments flow")
        process.signal(signal.SIGKILL)
        await process.ended()
        await process.start()
    await process.ready()
    done.set()
    await asyncio.gather(*shoppers)

    connection = await asyncpg.connect(bank_url)
    try:

        async def all_is_sent() -> bool:
            return not await connection.fetchval("select exists (select from outbox where sent_at is null)")

        await until(all_is_sent, "everything is announced")
        assert await audit.faults(connection) == []
        rows = await connection.fetch(
            "select t.id::text, c.token::text from transactions t join cards c on c.account_id = t.card_account_id"
            " order by t.number"
        )
    finally:
        await connection.close()
    decided = [row["id"] for row in rows]
    assert sorted(decided) == sorted(answer.id for answer in answers.values())
    for _, card in cards:
        announced = [subject for key, subject in topic[0].taken if key == card.token]
        assert list(dict.fromkeys(announced)) == [row["id"] for row in rows if row["token"] == card.token]
    for proof, _ in cards:
        assert proof.number.reveal() not in process.output


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"BANK_KEYS_FILE": ""}, "BANK_KEYS_FILE is not set"),
        ({"BANK_KEYS_FILE": "/nowhere.json"}, "cannot be read"),
        ({"K_SINK": ""}, "K_SINK is not set"),
        ({"PORT": "x"}, "PORT is 'x'"),
    ],
)
async def test_what_is_wrong_with_its_settings_is_said_in_a_sentence(
    keys_path: Path, tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    bank = BankProcess("postgresql://nobody@127.0.0.1:9/none", keys_path, "http://127.0.0.1:9/", tmp_path / "output")
    await bank.start(**settings)
    assert await bank.ended() == 1
    await bank.close()
    assert sentence in bank.output
    assert "Traceback" not in bank.output


async def test_a_port_that_is_taken_is_said_and_not_shared(
    process: BankProcess, bank_url: str, keys_path: Path, tmp_path: Path
) -> None:
    second = BankProcess(bank_url, keys_path, "http://127.0.0.1:9/", tmp_path / "second")
    await second.start(PORT=str(process.port))
    assert await second.ended() == 1
    await second.close()
    assert str(process.port) in second.output
    assert "Traceback" not in second.output
