"""How a gRPC method is served: the message read, the caller told, errors answered with google.rpc details.

Methods are registered by hand instead of by generated servicers: so a malformed message is answered as the caller's
mistake, and one place stands around all methods, without an interceptor's cost on each call.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from functions.bank.ledger import KeyFenced, KeyReused, NotRefundable
from functions.bank.payments import DeadlinePassed
from functions.bank.token import Caller, Role, Verifier
from functions.domain.error import (
    Busy,
    CodebankError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from functions.runtime import trace

_log = logging.getLogger(__name__)

DETAILS_KEY: Final = "grpc-status-details-bin"
ERROR_DOMAIN: Final = "codebank"
VIOLATIONS_MAX: Final = 20

STATUS: Final[dict[type[CodebankError], grpc.StatusCode]] = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    NotFound: grpc.StatusCode.NOT_FOUND,
    KeyReused: grpc.StatusCode.ALREADY_EXISTS,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Busy: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
}

REASONS: Final[dict[type[CodebankError], str]] = {
    KeyReused: "IDEMPOTENCY_KEY_REUSED",
    KeyFenced: "IDEMPOTENCY_KEY_CANCELLED",
    NotRefundable: "NOT_REFUNDABLE",
}
"""What ErrorInfo says of the errors that one status code does not tell apart."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a method knows of its call. deadline is by the event loop's clock."""

    by: Caller | None
    deadline: float | None
    traceparent: str

    @property
    def caller(self) -> Caller:
        """Who calls. Raises Unauthenticated where nobody had to say so."""
        if self.by is None:
            raise Unauthenticated("the call needs a bearer token")
        return self.by


RequestMessage = TypeVar("RequestMessage", bound=Message)


@dataclass(frozen=True)
class Method(Generic[RequestMessage]):
    """One unary method: its request's type, who may call it (None: anybody), and what it does."""

    request: type[RequestMessage]
    roles: frozenset[Role] | None
    run: Callable[[RequestMessage, Call], Awaitable[Message]]


class Context(Protocol):
    """What is used of grpc.aio's context of a call."""

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]] | None: ...

    def time_remaining(self) -> float | None: ...

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Sequence[tuple[str, str | bytes]] = ()
    ) -> NoReturn: ...


def service_handler(
    name: str, methods: Mapping[str, Method[Any]], verifier: Verifier, clock: Callable[[], dt.datetime]
) -> grpc.GenericRpcHandler:
    """The handler of one service."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        method_name: grpc.unary_unary_rpc_method_handler(
            _serve(f"{name}/{method_name}", method, verifier, clock), response_serializer=_serialized
        )
        for method_name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(name, handlers)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _serve(
    name: str, method: Method[Any], verifier: Verifier, clock: Callable[[], dt.datetime]
) -> Callable[[bytes, Context], Awaitable[Message]]:
    async def serve(raw: bytes, context: Context) -> Message:
        authorization, traceparent = None, None
        for key, value in context.invocation_metadata() or ():
            if key == "authorization":
                authorization = value
            elif key == "traceparent":
                traceparent = value
        traceparent = trace.enter(traceparent if isinstance(traceparent, str) else None)
        try:
            caller = None
            if method.roles is not None:
                caller = _authorized(authorization, method.roles, verifier, clock())
            remaining = context.time_remaining()
            deadline = asyncio.get_running_loop().time() + remaining if remaining is not None else None
            return await method.run(_parsed(raw, method.request), Call(caller, deadline, traceparent))
        except CodebankError as error:
            await _refuse(context, error)
        except Exception:
            _log.exception("%s failed", name)
            await context.abort(grpc.StatusCode.INTERNAL, "something is wrong at the bank; it has been logged")

    return serve


def _parsed(raw: bytes, message: type[RequestMessage]) -> RequestMessage:
    try:
        return message.FromString(raw)
    except DecodeError:
        raise Invalid(f"the request is not a well-formed {message.DESCRIPTOR.full_name}") from None


def _authorized(
    authorization: str | bytes | None, roles: frozenset[Role], verifier: Verifier, now: dt.datetime
) -> Caller:
    if not isinstance(authorization, str) or not authorization.startswith("Bearer "):
        raise Unauthenticated("the call needs a bearer token")
    caller = verifier.caller(authorization[7:], now)
    if caller.role not in roles:
        raise Forbidden(f"this is not for the role {caller.role}")
    return caller


async def _refuse(context: Context, error: CodebankError) -> NoReturn:
    code = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    status = Status(code=code.value[0], message=error.detail, details=_details(error))
    await context.abort(code, error.detail, ((DETAILS_KEY, status.SerializeToString()),))


def _details(error: CodebankError) -> list[AnyMessage]:
    details: list[Message] = []
    if isinstance(error, Invalid) and error.faults:
        details.append(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(
                        field=fault.pointer.removeprefix("#/").replace("/", "."),
                        description=fault.detail,
                        reason=fault.code,
                    )
                    for fault in error.faults[:VIOLATIONS_MAX]
                ]
            )
        )
    if isinstance(error, (Busy, Unavailable)):
        details.append(RetryInfo(retry_delay=Duration(seconds=error.retry_after_seconds)))
    if type(error) in REASONS:
        details.append(ErrorInfo(reason=REASONS[type(error)], domain=ERROR_DOMAIN))
    packed = []
    for detail in details:
        any_message = AnyMessage()
        any_message.Pack(detail)
        packed.append(any_message)
    return packed
