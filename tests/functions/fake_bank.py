"""A bank for tests: a real gRPC server on a port of its own, whose behaviour a test scripts.

It decides once per key, fences keys, signs sessions and publishes its keys, as the real one does; it has no database.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from jwt.algorithms import ECAlgorithm

from functions.domain.card import luhn_check_digit
from protos.codebank.bank.v1 import bank_pb2

Context = grpc.aio.ServicerContext[Any, Any]

MERCHANT_TOKEN = "the-merchants-token"
SESSION_MINUTES = 15


def new_card_number(prefix: str = "41", digits: int = 16) -> str:
    """A number of a card that exists in this test only."""
    body = prefix + "".join(random.choices("0123456789", k=digits - len(prefix) - 1))  # noqa: S311 - not a secret
    return body + luhn_check_digit(body)


@dataclass
class FakeCard:
    """A card, with what its holder reads off it."""

    number: str = field(default_factory=new_card_number)
    cvv: str = "123"
    name: str = "Ana Lima"
    expiration_month: int = 12
    expiration_year: int = field(default_factory=lambda: dt.datetime.now(dt.UTC).year + 3)
    token: str = field(default_factory=lambda: str(uuid.uuid4()))

    def body(self, **changes: Any) -> dict[str, Any]:
        """The card as the body of a sign-in."""
        names = ("number", "expiration_month", "expiration_year", "cvv")
        return {name: getattr(self, name) for name in names} | changes


class FakeBank:
    """The bank. Each attribute that is set changes how it behaves from then on."""

    def __init__(self) -> None:
        self.decline_code: int | None = None
        self.refuse_with: tuple[grpc.StatusCode, str] | None = None
        """Pay is refused before anything is decided."""
        self.silent_before_deciding = False
        """Pay never decides and never answers."""
        self.silent_after_deciding = False
        """Pay decides, and the answer never comes."""
        self.lost_answers = 0
        """So many times, Pay decides, and the connection breaks before the answer."""

        self.asked: list[bank_pb2.PayRequest] = []
        self.transactions: dict[str, bank_pb2.Transaction] = {}
        self.fenced: set[str] = set()
        self.cards: dict[str, FakeCard] = {}
        self.locked_seconds = 0
        self.key_set_calls = 0
        self.signing_keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.rotate()
        self.port = 0
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listens; again on the same port after stop()."""
        self._server = grpc.aio.server()
        methods: dict[str, tuple[Callable[..., Awaitable[Any]], Any]] = {
            "Pay": (self.pay, bank_pb2.PayRequest),
            "Cancel": (self.cancel, bank_pb2.CancelRequest),
            "SignIn": (self.sign_in, bank_pb2.SignInRequest),
            "GetJsonWebKeySet": (self.get_json_web_key_set, bank_pb2.GetJsonWebKeySetRequest),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                behaviour,
                request_deserializer=message.FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            for name, (behaviour, message) in methods.items()
        }
        service = bank_pb2.DESCRIPTOR.services_by_name["Bank"].full_name
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Goes away, without waiting for calls."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def issue(self, **fields: Any) -> FakeCard:
        """A card that can sign in."""
        card = FakeCard(**fields)
        self.cards[card.number] = card
        return card

    def rotate(self) -> str:
        """Makes a new signing key and signs with it from now on; answers its id."""
        key_id = uuid.uuid4().hex[:8]
        self.signing_keys[key_id] = ec.generate_private_key(ec.SECP256R1())
        return key_id

    def session_token(
        self, card: FakeCard, *, key_id: str | None = None, algorithm: str = "ES256", key: Any = None, **claims: Any
    ) -> str:
        """A token as SignIn makes them; what is given differs from that."""
        key_id = key_id or list(self.signing_keys)[-1]
        now = dt.datetime.now(dt.UTC)
        payload = {
            "iss": "codebank",
            "aud": "statement",
            "sub": card.token,
            "iat": now,
            "exp": now + dt.timedelta(minutes=SESSION_MINUTES),
            "brand": "visa",
            "last4": card.number[-4:],
        } | claims
        return jwt.encode(
            {name: value for name, value in payload.items() if value is not None},
            key if key is not None else self.signing_keys[key_id],
            algorithm=algorithm,
            headers={"kid": key_id},
        )

    async def pay(self, request: bank_pb2.PayRequest, context: Context) -> bank_pb2.Transaction:
        """Charges a card once per key, unless it is scripted otherwise."""
        await self._authorize(context)
        self.asked.append(request)
        if self.refuse_with is not None:
            await context.abort(*self.refuse_with)
        if self.silent_before_deciding:
            await _until_cancelled()
        if request.idempotency_key in self.fenced:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the idempotency key was cancelled")
        transaction = self.transactions.setdefault(request.idempotency_key, self._decide(request))
        if (transaction.amount_minor, transaction.description) != (request.amount_minor, request.description):
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "the idempotency key stands for another request")
        if self.silent_after_deciding:
            await _until_cancelled()
        if self.lost_answers:
            self.lost_answers -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return transaction

    async def cancel(self, request: bank_pb2.CancelRequest, context: Context) -> bank_pb2.CancelResponse:
        """Answers what was decided under the key, or fences it."""
        await self._authorize(context)
        decided = self.transactions.get(request.idempotency_key)
        if decided is not None:
            return bank_pb2.CancelResponse(transaction=decided)
        self.fenced.add(request.idempotency_key)
        return bank_pb2.CancelResponse(fenced=True)

    async def sign_in(self, request: bank_pb2.SignInRequest, context: Context) -> bank_pb2.Session:
        """A session for who proves a card, unless too many wrong proofs came before."""
        if self.locked_seconds:
            await context.abort_with_status(_busy(self.locked_seconds))
        card = self.cards.get(request.card.number)
        if card is None or card.cvv != request.card.cvv:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this is not a card of this bank, as it is written")
        session = bank_pb2.Session(
            token=self.session_token(card),
            card=bank_pb2.Card(token=card.token, brand="visa", last4=card.number[-4:], name=card.name),
        )
        session.expires_at.FromDatetime(dt.datetime.now(dt.UTC) + dt.timedelta(minutes=SESSION_MINUTES))
        return session

    async def get_json_web_key_set(
        self, request: bank_pb2.GetJsonWebKeySetRequest, context: Context
    ) -> bank_pb2.JsonWebKeySet:
        """The public keys."""
        self.key_set_calls += 1
        keys = [
            {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig", "alg": "ES256"}
            for key_id, key in self.signing_keys.items()
        ]
        return bank_pb2.JsonWebKeySet(json=json.dumps({"keys": keys}))

    async def _authorize(self, context: Context) -> None:
        if ("authorization", f"Bearer {MERCHANT_TOKEN}") not in (context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the call needs a bearer token")

    def _decide(self, request: bank_pb2.PayRequest) -> bank_pb2.Transaction:
        transaction = bank_pb2.Transaction(
            id=str(uuid.uuid4()),
            kind=bank_pb2.TRANSACTION_KIND_PAYMENT,
            status=bank_pb2.TRANSACTION_STATUS_APPROVED,
            amount_minor=request.amount_minor,
            currency=request.currency,
            store=request.store,
            description=request.description,
            order_id=request.order_id,
        )
        if self.decline_code is not None:
            transaction.status = bank_pb2.TRANSACTION_STATUS_DECLINED
            transaction.decline_code = self.decline_code  # type: ignore[assignment]
        return transaction


async def _until_cancelled() -> None:
    await asyncio.Event().wait()


def _busy(seconds: int) -> grpc.Status:
    retry = any_pb2.Any()
    retry.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds)))
    code = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    return rpc_status.to_status(status_pb2.Status(code=code, message="too many wrong proofs", details=[retry]))
