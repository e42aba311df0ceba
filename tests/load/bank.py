"""How fast the bank is, and how far that is from what could be: `python -m tests.load.bank [--million]`.

Real gRPC clients in this process drive a real bank process on a real PostgreSQL with fsync on. Beside it stand, in the
same run and on the same machine, a bare grpc.aio echo of the same messages and the database's own commit. The servers
are measured in short slices, one after the other and again, so that whatever else the machine does falls on all alike.
After each measurement all books are audited. --million compares a ledger of 1,000 transactions with one of 1,000,000.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import grpc
import grpc.aio
import uvloop

from functions.bank import audit
from functions.bank.cards import number_of
from functions.bank.keys import Keyring, new_document
from functions.bank.token import Caller, Role, caller_token
from functions.domain.card import Brand, Expiry
from functions.runtime.database import Database
from functions.runtime.migrate import migrate
from local.engines.engine import free_port
from local.engines.postgresql import PostgreSQL
from protos.codebank.bank.v1 import bank_pb2 as pb

CALLERS: Final = (1, 16, 64)
CARDS: Final = 10_000
CHANNELS: Final = 4
SLICE_SECONDS: Final = 1.5
WARM_SECONDS: Final = 1.0
THOUSAND: Final = 1_000
MILLION: Final = 1_000_000
FILL_ROWS: Final = 20_000
NO_SINK: Final = "http://127.0.0.1:9/"
"""A sink that nobody serves: events stay in the outbox, but for a try every few seconds."""

EXPIRY: Final = Expiry(2039, 12)

METHOD: Final = f"/{pb.DESCRIPTOR.services_by_name['Bank'].full_name}/Pay"


@dataclass
class Measured:
    """Calls and how long each took, over some slices."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def percentile_ms(self, percent: int) -> float:
        return statistics.quantiles(self.latencies_ms, n=100)[percent - 1]

    def row(self, name: str) -> str:
        return f"{name:<34}{self.per_second:>10,.0f}{self.percentile_ms(50):>10.2f}{self.percentile_ms(99):>10.2f}"


class Target:
    """A server that answers Pay, and the requests that it is sent."""

    def __init__(self, port: int, requests: Iterator[pb.PayRequest], token: str) -> None:
        self._channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(CHANNELS)
        ]
        self._requests = requests
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def ready(self) -> None:
        for channel in self._channels:
            await channel.channel_ready()

    async def drive(self, callers: int, seconds: float, into: Measured) -> None:
        """So many callers, each calling again as soon as it was answered."""
        started = time.perf_counter()
        until = started + seconds
        await asyncio.gather(*(self._caller(index, until, into.latencies_ms) for index in range(callers)))
        into.seconds += time.perf_counter() - started

    async def _caller(self, index: int, until: float, latencies_ms: list[float]) -> None:
        pay = self._channels[index % CHANNELS].unary_unary(
            METHOD, request_serializer=pb.PayRequest.SerializeToString, response_deserializer=pb.Transaction.FromString
        )
        while (now := time.perf_counter()) < until:
            answer = await pay(next(self._requests), metadata=self._metadata)
            latencies_ms.append((time.perf_counter() - now) * 1000)
            if answer.status != pb.TRANSACTION_STATUS_APPROVED:
                raise SystemExit(f"a payment was declined: {answer}")

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


def requests(cards: Sequence[pb.CardProof]) -> Iterator[pb.PayRequest]:
    """Payments of one unit, each under a key of its own, card after card."""
    run = os.urandom(8).hex()
    for number, card in enumerate(itertools.cycle(cards)):
        yield pb.PayRequest(
            idempotency_key=f"{run}-{number}",
            card=card,
            amount_minor=1,
            currency="BRL",
            store="bench",
            description="a payment of the benchmark",
            order_id=f"{run}-{number}",
        )


@dataclass(frozen=True)
class Served:
    """A bank on a database (none: the echo), the cards that pay there, and its sink."""

    url: str | None
    cards: list[pb.CardProof]
    sink: str = NO_SINK


@dataclass
class Bench:
    """What every measurement needs: the database server, the keys, a merchant's token."""

    postgresql: PostgreSQL
    folder: Path
    keyring: Keyring
    keys_file: Path
    token: str

    async def database(self, name: str) -> str:
        """A new migrated database with CARDS cards; answers its address."""
        url = await self.postgresql.ensure_database(name, "bench")
        database = Database(url)
        await migrate("bank", database)
        await database.close()
        connection = await asyncpg.connect(url)
        rows = []
        now = dt.datetime.now(dt.UTC)
        for index in range(CARDS):
            number = number_of(Brand.VISA, index)
            [fingerprint] = self.keyring.fingerprints(number)
            rows.append((fingerprint, number.last4))
        await connection.execute(
            """
            with numbered as (
                select gen_random_uuid() as token, f, l from unnest($1::bytea[], $2::text[]) n (f, l)
            ), opened as (
                insert into accounts (kind, owner, currency) select 'card', token::text, 'BRL' from numbered
                returning id, owner
            )
            insert into cards (account_id, currency, token, brand, last4, name, expiration_year, expiration_month,
                limit_minor, fingerprint, fingerprint_key_id, cvv_key_id)
            select a.id, 'BRL', n.token, 'visa', n.l, 'Bench', $3, $4, 1000000000000, n.f, $5, $6
            from numbered n join opened a on a.owner = n.token::text
            """,
            *(list(column) for column in zip(*rows, strict=True)),
            EXPIRY.year,
            EXPIRY.month,
            self.keyring.fingerprint_key(now).id,
            self.keyring.cvv_key(now).id,
        )
        await connection.close()
        return url

    def cards(self, count: int) -> list[pb.CardProof]:
        """The proofs of the first cards."""
        proofs = []
        for index in range(count):
            number = number_of(Brand.VISA, index)
            cvv = self.keyring.cvv_of(number, EXPIRY, self.keyring.cvv[0].id)
            proofs.append(
                pb.CardProof(
                    name="Bench",
                    number=number.reveal(),
                    expiration_month=EXPIRY.month,
                    expiration_year=EXPIRY.year,
                    cvv=cvv.reveal(),
                )
            )
        return proofs

    @asynccontextmanager
    async def process(self, *command: str, **environment: str) -> AsyncIterator[None]:
        """A server process, for as long as the block runs."""
        log = (self.folder / "servers.log").open("ab")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, env=os.environ | environment, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()
            log.close()

    @asynccontextmanager
    async def bank(self, url: str, *, sink: str) -> AsyncIterator[int]:
        """A bank process on the database; answers its port."""
        port = free_port()
        environment = {
            "BANK_DATABASE_URL": url,
            "BANK_KEYS_FILE": str(self.keys_file),
            "K_SINK": sink,
            "HOST": "127.0.0.1",
            "PORT": str(port),
        }
        async with self.process("functions.bank.bank", **environment):
            yield port

    async def audited(self, url: str) -> str:
        """What the audit of the books says."""
        connection = await asyncpg.connect(url)
        try:
            found = await audit.faults(connection)
            number = await connection.fetchval("select count(*) from transactions")
        finally:
            await connection.close()
        if found:
            raise SystemExit("the books are wrong:\n" + "\n".join(found))
        return f"books right, {number:,} transactions"


async def measure(targets: dict[str, Target], callers: int, slices: int) -> dict[str, Measured]:
    """All targets with so many callers, slice after slice in turn."""
    for target in targets.values():
        await target.drive(callers, WARM_SECONDS / 2, Measured())
    results = {name: Measured() for name in targets}
    for _ in range(slices):
        for name, target in targets.items():
            await target.drive(callers, SLICE_SECONDS, results[name])
    return results


async def commits(url: str, connections: int, seconds: float) -> Measured:
    """Commits of one small row each, by so many connections at once: what durability costs here."""
    measured = Measured()
    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections)
    await pool.execute("create table if not exists commits (n bigint)")
    started = time.perf_counter()
    until = started + seconds

    async def commit() -> None:
        async with pool.acquire() as connection:
            while (now := time.perf_counter()) < until:
                await connection.execute("insert into commits values ($1)", 1)
                measured.latencies_ms.append((time.perf_counter() - now) * 1000)

    await asyncio.gather(*(commit() for _ in range(connections)))
    measured.seconds = time.perf_counter() - started
    await pool.close()
    return measured


@asynccontextmanager
async def serving(bench: Bench, servers: dict[str, Served]) -> AsyncIterator[dict[str, Target]]:
    """The servers, each with its client, for as long as the block runs."""
    async with AsyncExitStack() as stack:
        ports = {}
        for name, served in servers.items():
            if served.url is None:
                ports[name] = free_port()
                await stack.enter_async_context(bench.process("tests.load.echo", str(ports[name])))
            else:
                ports[name] = await stack.enter_async_context(bench.bank(served.url, sink=served.sink))
        # Clients come after all processes: gRPC's threads and forks do not go together well.
        targets = {name: Target(ports[name], requests(served.cards), bench.token) for name, served in servers.items()}
        for target in targets.values():
            stack.push_async_callback(target.close)
            await target.ready()
        yield targets


async def compare(
    bench: Bench, callers: int, slices: int, servers: dict[str, Served], targets: dict[str, Target]
) -> list[float]:
    """Measures the targets in turn, prints a row for each and audits the books; answers the rates."""
    results = await measure(targets, callers, slices)
    for name, measured in results.items():
        print(measured.row(f"{name}, {callers} callers"))
    for name in targets:
        url = servers[name].url
        if url is not None:
            print(f"    {name}: {await bench.audited(url)}")
    return [measured.per_second for measured in results.values()]


HEADING: Final = f"{'':<34}{'per second':>10}{'p50 ms':>10}{'p99 ms':>10}"


async def quick(bench: Bench, slices: int) -> None:
    """The table of 1, 16 and 64 callers: echo, many cards, one hot card; then what publishing the events costs."""
    many, hot = bench.cards(CARDS), bench.cards(1)
    commit_url = await bench.postgresql.ensure_database("commit", "bench")
    for connections in (1, 16):
        print(
            (await commits(commit_url, connections, SLICE_SECONDS * 2)).row(f"commit of a row, {connections} at once")
        )
    sink_port = free_port()
    publishing = Served(await bench.database("publishing"), many, sink=f"http://127.0.0.1:{sink_port}/")
    servers = {
        "echo": Served(None, many),
        "many cards": Served(await bench.database("many"), many),
        "one hot card": Served(await bench.database("hot"), hot),
        "many cards, publishing": publishing,
    }
    async with bench.process("tests.load.sink", str(sink_port)), serving(bench, servers) as targets:
        publisher = targets.pop("many cards, publishing")
        for callers in CALLERS:
            print()
            limit, pay, one = await compare(bench, callers, slices, servers, targets)
            print(f"    many cards / echo {pay / limit:.0%}    one hot card / many cards {one / pay:.0%}")
        print()
        both = {"echo": targets["echo"], "many cards, publishing": publisher}
        limit, pay = await compare(bench, CALLERS[-1], slices, servers, both)
        left = await unsent(publishing.url)
        print(f"    many cards, publishing / echo {pay / limit:.0%}    {left:,} events were unsent at the end")


async def unsent(url: str | None) -> int:
    """How many events wait in the outbox."""
    connection = await asyncpg.connect(url)
    try:
        count: int = await connection.fetchval("select count(*) from outbox where sent_at is null")
        return count
    finally:
        await connection.close()


async def million(bench: Bench, slices: int) -> None:
    """A payment's cost in a ledger of 1,000 transactions and in one of 1,000,000."""
    small, large = await bench.database("small"), await bench.database("large")
    await fill(small, THOUSAND)
    await fill(large, MILLION)
    many = bench.cards(CARDS)
    servers = {f"{size:,} transactions": Served(url, many) for size, url in ((THOUSAND, small), (MILLION, large))}
    async with serving(bench, servers) as targets:
        few, lots = await compare(bench, CALLERS[-1], slices, servers, targets)
    print(f"    a payment costs {few / lots - 1:+.1%} in the large ledger")


async def fill(url: str, transactions: int) -> None:
    """Adds so many payments that were announced long ago, by the same tables and triggers, as if they had been made."""
    connection = await asyncpg.connect(url)
    try:
        merchant = await connection.fetchval(
            "insert into accounts (kind, owner, currency) values ('merchant', 'bench', 'BRL') returning id"
        )
        first = await connection.fetchval("select min(account_id) from cards")
        for start in range(0, transactions, FILL_ROWS):
            rows = min(FILL_ROWS, transactions - start)
            await connection.execute(_FILL, rows, first, CARDS, merchant, timeout=600)
            print(f"\r    {start + rows:,} of {transactions:,} transactions added", end="", flush=True)
        print()
        # What autovacuum does in the course of time.
        await connection.execute("vacuum analyze", timeout=600)
        await connection.execute("checkpoint", timeout=600)
    finally:
        await connection.close()


_FILL: Final = """
    with posted as materialized (
        select nextval('transaction_numbers') as number, gen_random_uuid() as id,
            $2::bigint + (random() * ($3::bigint - 1))::bigint as card
        from generate_series(1, $1::bigint)
    ), new_transactions as (
        insert into transactions (number, id, kind, merchant, card_account_id, amount_minor, currency, store,
            description, order_id, created_at)
        select number, id, 'payment', 'bench', card, 1, 'BRL', 'bench', 'a payment of the benchmark', id::text, now()
        from posted
    ), new_keys as (
        insert into idempotency_keys (transaction_id, transaction_number, digest, digest_key_id)
        select id, number, sha256(id::text::bytea), 'fill' from posted
    ), new_announcements as (
        insert into outbox (transaction_number, shard, sent_at) select number, card % 16, now() from posted
    )
    insert into entries (transaction_number, account_id, amount_minor)
    select number, card, -1 from posted union all select number, $4::bigint, 1 from posted
"""


async def main(arguments: argparse.Namespace) -> None:
    """Sets everything up in a temporary folder, measures, and leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="codebank-bench-") as name, (Path(name) / "log").open("w") as log:
        folder = Path(name)
        postgresql = PostgreSQL(folder / "postgresql", lambda line: print(line, file=log))
        await postgresql.start()
        try:
            now = dt.datetime.now(dt.UTC)
            document = json.dumps(new_document(now))
            keys_file = folder / "keys.json"
            keys_file.write_text(document)
            keyring = Keyring.read(document)
            token = caller_token(keyring, Caller(Role.MERCHANT, "bench"), now, dt.timedelta(days=1))
            bench = Bench(postgresql, folder, keyring, keys_file, token)
            print(HEADING)
            await (million if arguments.million else quick)(bench, arguments.slices)
        finally:
            await postgresql.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.load.bank", description=__doc__)
    parser.add_argument("--slices", type=int, default=4, help="how often each is measured in turn (%(default)s)")
    parser.add_argument("--million", action="store_true", help="compare a small ledger with a large one")
    uvloop.run(main(parser.parse_args()))
