"""Thousands of malformed and odd inputs: each gets a right status, nothing is half done, the server lives."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from functions.bank.limits import MESSAGE_BYTES_MAX
from functions.bank.token import Role
from protos.codebank.bank.v1 import bank_pb2 as pb
from protos.payment import payment_pb2
from tests.functions.bank.desk import SERVICE, Desk, fresh_key, open_desk, proof_message, together

pytestmark = pytest.mark.anyio

INPUTS: Final = 6000
AT_ONCE: Final = 24

LEGACY: Final = "payment.PaymentService"
METHODS: Final[dict[str, type[Message]]] = {
    f"/{SERVICE}/Pay": pb.PayRequest,
    f"/{SERVICE}/Refund": pb.RefundRequest,
    f"/{SERVICE}/Cancel": pb.CancelRequest,
    f"/{SERVICE}/GetTransaction": pb.GetTransactionRequest,
    f"/{SERVICE}/ListTransactions": pb.ListTransactionsRequest,
    f"/{SERVICE}/IssueCard": pb.IssueCardRequest,
    f"/{SERVICE}/BlockCard": pb.BlockCardRequest,
    f"/{SERVICE}/SetCardLimit": pb.SetCardLimitRequest,
    f"/{SERVICE}/SignIn": pb.SignInRequest,
    f"/{LEGACY}/Payment": payment_pb2.PaymentRequest,
}

# What a caller's mistake, a full server, a passed deadline or a cancelled call may come to. Never UNKNOWN or INTERNAL:
# those would be ours.
ALLOWED: Final = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNIMPLEMENTED,
}

TEXTS: Final = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\x1b[31m",
    "\r\n",
    "\u2028",
    "\x85",
    "é",
    "🍰" * 10,
    "\U0010ffff",
    "\u202etxet",
    "x" * 10_000,
    "🍰" * 10_000,
    "' or 1=1; --",
    "4111111111111111",
    "4111 1111 1111 1111",
    "%s%n{}",
    "NaN",
    "-1",
    "9" * 30,
    "00000000-0000-4000-8000-000000000000",
    "BRL",
    "brl",
    "XXX",
    "visa",
    "other",
    "٤١١١١١١١١١١١١١١١",
)
WHOLE: Final = (0, 1, -1, 12, 13, 2039, 10**12, 10**12 + 1, 2**31 - 1, -(2**31), 2**53, 2**63 - 1, -(2**63))
FLOATS: Final = (0.0, -0.0, 0.3, 19.999, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324, -5.0, 12.5, 1e10)


class Fuzz:
    """Makes odd inputs, the same ones for the same seed."""

    def __init__(self, desk: Desk, merchant: str, operator: str, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - it draws inputs, not secrets
        self._cards = [proof_message(proof) for proof in desk.demo_cards()]
        self._merchant, self._operator = f"Bearer {merchant}", f"Bearer {operator}"
        self._tokens = (
            *(self._merchant, self._operator),
            *("", "Bearer", "Bearer x.y.z", "Basic eA==", "Bearer " + "x" * 3000, "bearer  x"),
        )
        self._makers: tuple[Callable[[type[Message]], bytes], ...] = (
            self.noise,
            self.odd_fields,
            self.odd_fields,
            self.nearly_right,
            self.bent,
            self.unknown_fields,
        )

    def call(self) -> tuple[str, bytes, tuple[tuple[str, str], ...]]:
        """A method, its request's bytes, and metadata."""
        name = self.random.choice(list(METHODS))
        raw = self.random.choice(self._makers)(METHODS[name])
        token = self._operator if name.endswith(("Card", "Limit")) else self._merchant
        metadata = [("authorization", self.random.choice(self._tokens) if self.random.random() < 0.3 else token)]
        if self.random.random() < 0.2:
            metadata.append(
                ("traceparent", self.random.choice(["", "00-x", "00-" + "0" * 32 + "-" + "1" * 16 + "-00"]))
            )
        if self.random.random() < 0.01:
            name = self.random.choice(["/x/y", f"/{SERVICE}/Steal", f"/{SERVICE}/"])
        return name, raw, tuple(metadata)

    def noise(self, kind: type[Message]) -> bytes:
        """Bytes of nothing; sometimes too many."""
        size = self.random.choice([0, 1, 2, 10, 100, 1000]) if self.random.random() < 0.97 else MESSAGE_BYTES_MAX + 1
        return self.random.randbytes(size)

    def odd_fields(self, kind: type[Message]) -> bytes:
        """A well-formed message with odd values."""
        message = kind()
        self._fill(message, odd=0.9)
        return message.SerializeToString()

    def nearly_right(self, kind: type[Message]) -> bytes:
        """A right message, but for a field or two."""
        message = kind()
        self._fill(message, odd=0.12)
        return message.SerializeToString()

    def bent(self, kind: type[Message]) -> bytes:
        """A right message with some of its bytes changed or cut off."""
        message = kind()
        self._fill(message, odd=0.0)
        raw = bytearray(message.SerializeToString())
        for _ in range(self.random.randint(1, 3)):
            if raw:
                raw[self.random.randrange(len(raw))] = self.random.randrange(256)
        return bytes(raw[: self.random.randint(0, len(raw))] if self.random.random() < 0.3 else raw)

    def unknown_fields(self, kind: type[Message]) -> bytes:
        """A right message with fields that nobody knows, enum values among them."""
        message = kind()
        self._fill(message, odd=0.0)
        return message.SerializeToString() + b"\xa0\x06\x7f" + b"\xaa\x06\x03abc" + b"\xa9\x06" + struct.pack("<d", 1.0)

    def _fill(self, message: Message, *, odd: float) -> None:
        for described in message.DESCRIPTOR.fields:
            name = described.name
            if described.message_type is not None:
                if name == "card" and self.random.random() >= odd:
                    message.card.CopyFrom(self.random.choice(self._cards))  # type: ignore[attr-defined]
                else:
                    self._fill(getattr(message, name), odd=odd)
                continue
            value = (
                self._odd(described.cpp_type) if self.random.random() < odd else self._right(name, described.cpp_type)
            )
            try:
                setattr(message, name, value)
            except ValueError:
                continue  # An integer that the field's type cannot even carry.

    def _odd(self, cpp_type: int) -> object:
        kinds: dict[int, Any] = {9: TEXTS, 5: FLOATS}
        return self.random.choice(kinds.get(cpp_type, WHOLE))

    def _right(self, name: str, cpp_type: int) -> object:
        card = self.random.choice(self._cards)
        right: dict[str, object] = {
            "idempotency_key": self.random.choice([fresh_key(), "one of a few keys", "another one"]),
            "amount_minor": self.random.randint(1, 500),
            "currency": "BRL",
            "transaction_id": secrets.token_hex(16),
            "limit_minor": 1000,
            "number": card.number,
            "expirationMonth": card.expiration_month,
            "expirationYear": card.expiration_year,
            "amount": self.random.randint(1, 500) / 100,
            "page_size": 3,
        }
        return right.get(name, "text" if cpp_type == 9 else 1)


@pytest.fixture
async def demo(bank_url: str, keys_path: Path) -> AsyncIterator[Desk]:
    """A bank with its demo cards."""
    desk = await open_desk(bank_url, keys_path, demo=True)
    yield desk
    await desk.close()


async def test_odd_inputs_get_a_right_status_and_leave_nothing_half_done(
    demo: Desk, caplog: pytest.LogCaptureFixture, record_property: Callable[[str, object], None]
) -> None:
    seed = secrets.randbits(32)
    fuzz = Fuzz(demo, demo.token(Role.MERCHANT, "shop"), demo.token(Role.OPERATOR, "olga"), seed)
    statuses: Counter[grpc.StatusCode] = Counter()
    channel = demo.anyone.channel

    async def attempt() -> None:
        name, raw, metadata = fuzz.call()
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(name)
        manner = fuzz.random.random()
        timeout = fuzz.random.choice([0.0, 0.0005, 0.002, 0.005]) if manner < 0.1 else 30
        call = method(raw, metadata=metadata, timeout=timeout)
        if 0.1 <= manner < 0.2:
            await asyncio.sleep(fuzz.random.choice([0, 0.0005, 0.002, 0.005]))
            if call.cancel():
                # grpc.aio now and then never tells the code of a call that was cancelled before it had begun.
                statuses[grpc.StatusCode.CANCELLED] += 1
                return
        code = await call.code()
        statuses[code] += 1
        assert code in ALLOWED, (seed, name, raw[:300], code, await call.details())

    async def worker() -> None:
        for _ in range(INPUTS // AT_ONCE):
            await attempt()

    failures = [outcome for outcome in await together(*(worker() for _ in range(AT_ONCE))) if outcome is not None]
    assert failures == []
    record_property("statuses", dict(statuses))
    assert sum(statuses.values()) == INPUTS >= 5000
    assert {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAUTHENTICATED} <= set(statuses)

    await demo.assert_books()
    transactions = await demo.value("select count(*) from transactions")
    assert transactions > 20, "some of the odd inputs were payments"
    for table in ("outbox", "idempotency_keys where transaction_number is not null"):
        assert await demo.value(f"select count(*) from {table}") == transactions
    proof, _ = await demo.issue()
    assert (await demo.merchant.pay(proof)).status == pb.TRANSACTION_STATUS_APPROVED
    # grpc itself logs an error where it cannot refuse a call any more that was cancelled; ours would be of functions.*.
    ours = [record for record in caplog.records if record.name.startswith("functions")]
    assert [record for record in ours if record.levelno >= logging.ERROR] == []
    for proof in demo.demo_cards():
        assert proof.number.reveal() not in caplog.text
