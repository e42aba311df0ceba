"""A bank in this process, on a real database and a real port, and clients of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from functions.bank import audit
from functions.bank.database import Database
from functions.bank.demo import proofs, seed
from functions.bank.keys import KeyFile, Keyring
from functions.bank.ledger import Payment
from functions.bank.outbox import Outbox
from functions.bank.payments import Payments, now_utc
from functions.bank.server import Server
from functions.bank.token import Caller, Role, caller_token
from functions.domain.card import CardProof
from functions.runtime.sink import MemorySink
from protos.codebank.bank.v1 import bank_pb2 as pb

SERVICE = "codebank.bank.v1.Bank"

ANSWERS: Mapping[str, type[Message]] = {
    "Pay": pb.Transaction,
    "Refund": pb.Transaction,
    "Cancel": pb.CancelResponse,
    "GetTransaction": pb.Transaction,
    "ListTransactions": pb.ListTransactionsResponse,
    "IssueCard": pb.IssuedCard,
    "BlockCard": pb.Card,
    "UnblockCard": pb.Card,
    "SetCardLimit": pb.Card,
    "SignIn": pb.Session,
    "GetJsonWebKeySet": pb.JsonWebKeySet,
}

_numbers = itertools.count(1)


def fresh_key() -> str:
    """An idempotency key that no test has used."""
    return f"key-{next(_numbers)}-{secrets.token_hex(4)}"


def proof_message(proof: CardProof) -> pb.CardProof:
    """The proof as a message."""
    return pb.CardProof(
        name=proof.name,
        number=proof.number.reveal(),
        expiration_month=proof.expiry.month,
        expiration_year=proof.expiry.year,
        cvv=proof.cvv.reveal(),
    )


def pay_request(proof: CardProof, amount_minor: int = 100, **more: Any) -> pb.PayRequest:
    """A payment under a fresh key, but for what is said otherwise."""
    fields: dict[str, Any] = {
        "idempotency_key": fresh_key(),
        "card": proof_message(proof),
        "amount_minor": amount_minor,
        "currency": "BRL",
        "store": "A store",
        "description": "A thing",
        "order_id": "order-1",
    }
    return pb.PayRequest(**(fields | more))


def payment(proof: CardProof, amount_minor: int = 100, **more: Any) -> Payment:
    """A payment as the ledger reads it, without a deadline and under a fresh id."""
    fields: dict[str, Any] = {
        "id": f"{secrets.token_hex(4)}-{secrets.token_hex(2)}-4000-8000-{secrets.token_hex(6)}",
        "merchant": "shop",
        "proof": proof,
        "amount_minor": amount_minor,
        "currency": "BRL",
        "store": "A store",
        "description": "A thing",
        "order_id": None,
        "deadline": None,
        "traceparent": None,
    }
    return Payment(**(fields | more))


class Client:
    """Calls the bank's methods by name, over a channel of its own."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def call(self, method: str, request: Message, *, timeout: float | None = 30, **more: Any) -> Any:
        """The answer; grpc.aio.AioRpcError is raised where there is none."""
        return await self.method(method)(request, timeout=timeout, metadata=self.metadata, **more)

    def method(self, name: str) -> grpc.aio.UnaryUnaryMultiCallable[Any, Any]:
        """The method, for who wants the call and not only its answer."""
        return self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=ANSWERS[name].FromString,
        )

    async def pay(self, proof: CardProof, amount_minor: int = 100, **more: Any) -> pb.Transaction:
        """A payment's answer."""
        answer: pb.Transaction = await self.call("Pay", pay_request(proof, amount_minor, **more))
        return answer

    async def close(self) -> None:
        """Ends the channel."""
        await self.channel.close()


@dataclass
class Desk:
    """The bank and all that a test may want to reach of it."""

    database: Database
    keys: KeyFile
    keys_path: Path
    sink: MemorySink
    outbox: Outbox
    payments: Payments
    server: Server
    merchant: Client
    operator: Client
    anyone: Client

    @property
    def keyring(self) -> Keyring:
        """The keys as they are now."""
        return self.keys.keyring

    @property
    def address(self) -> str:
        """Where the bank listens."""
        return f"127.0.0.1:{self.server.port}"

    def demo_cards(self) -> list[CardProof]:
        """The proofs of the demo cards, in their order."""
        return [proof for _, proof, _ in proofs(self.keyring)]

    def token(self, role: Role, subject: str) -> str:
        """A token of the bank's."""
        return caller_token(self.keyring, Caller(role, subject), now_utc(), dt.timedelta(hours=1))

    async def issue(self, limit_minor: int = 100_000, **more: Any) -> tuple[CardProof, pb.Card]:
        """A new card."""
        fields: dict[str, Any] = {"name": "Ana", "currency": "BRL", "limit_minor": limit_minor}
        issued = await self.operator.call("IssueCard", pb.IssueCardRequest(**(fields | more)))
        card = issued.card
        proof = CardProof.read(
            name=card.name,
            number=issued.number,
            expiration_month=card.expiration_month,
            expiration_year=card.expiration_year,
            cvv=issued.cvv,
            pointer="#",
        )
        return proof, card

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """Rows of the bank's database."""
        async with self.database.connection() as connection:
            return list(await connection.fetch(query, *arguments))

    async def value(self, query: str, *arguments: object) -> Any:
        """One value of the bank's database."""
        async with self.database.connection() as connection:
            return await connection.fetchval(query, *arguments)

    async def assert_books(self) -> None:
        """Fails where the audit finds something."""
        async with self.database.connection() as connection:
            assert await audit.faults(connection) == []

    async def close(self) -> None:
        """Ends everything."""
        for client in (self.merchant, self.operator, self.anyone):
            await client.close()
        await self.server.drain()
        await self.database.close()


async def open_desk(url: str, keys_path: Path, *, legacy_protocol: bool = True, demo: bool = False) -> Desk:
    """A bank on the migrated database, serving, not publishing by itself."""
    keys = KeyFile(keys_path)
    database = Database(url, 6)
    if demo:
        await seed(database, keys.keyring)
    sink = MemorySink()
    outbox = Outbox(database, sink)
    payments = Payments(database, keys, posted=outbox.wake)
    server = Server(database, keys, payments, legacy_protocol=legacy_protocol)
    await server.start("127.0.0.1", 0)
    await server.ready()

    def client(role: Role | None, subject: str) -> Client:
        caller = Caller(role, subject) if role else None
        token = caller_token(keys.keyring, caller, now_utc(), dt.timedelta(hours=1)) if caller else None
        return Client(f"127.0.0.1:{server.port}", token)

    return Desk(
        database,
        keys,
        keys_path,
        sink,
        outbox,
        payments,
        server,
        client(Role.MERCHANT, "shop"),
        client(Role.OPERATOR, "olga"),
        client(None, ""),
    )


async def together(*calls: Any) -> list[Any]:
    """All at once; exceptions are answers."""
    return await asyncio.gather(*calls, return_exceptions=True)


def code_of(answer: object) -> grpc.StatusCode:
    """The status of what a call came to."""
    return answer.code() if isinstance(answer, grpc.aio.AioRpcError) else grpc.StatusCode.OK


def write_keys(path: Path, document: dict[str, Any]) -> Path:
    """A key file at the path."""
    path.write_text(json.dumps(document))
    return path
