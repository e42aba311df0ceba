"""The way to the bank for the steps that call it: one gRPC channel, deadlines, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from functions.domain.error import (
    Busy,
    CodebankError,
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from functions.runtime import settings, trace
from protos.codebank.bank.v1 import bank_pb2_grpc

CALL_TIMEOUT_SECONDS: Final = 5.0
MESSAGE_BYTES_MAX: Final = 256 * 1024

_ERRORS: Final[dict[grpc.StatusCode, type[CodebankError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: Invalid,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Busy,
}


class Bank:
    """A channel to the bank at BANK_ADDRESS (host:port, plaintext h2c inside the mesh), made on first use."""

    def __init__(self, address: str, token: str | None = None) -> None:
        # Keepalive finds a bank that vanished without a word; the short backoff finds one that came back.
        self._channel = grpc.aio.insecure_channel(
            address,
            options=[
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 5_000),
                ("grpc.max_reconnect_backoff_ms", 1_000),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._token = token
        self.stub: bank_pb2_grpc.BankAsyncStub = bank_pb2_grpc.BankStub(self._channel)

    @classmethod
    def of_settings(cls) -> Bank:
        """The bank at BANK_ADDRESS, as the merchant or reader whose BANK_TOKEN it is (none where it is not set)."""
        return cls(settings.text("BANK_ADDRESS"), settings.text("BANK_TOKEN", "") or None)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of each call: who calls, and the trace it belongs to."""
        pairs = []
        if self._token:
            pairs.append(("authorization", f"Bearer {self._token}"))
        if traceparent := trace.current_traceparent():
            pairs.append(("traceparent", traceparent))
        return tuple(pairs)

    async def close(self) -> None:
        """Ends the channel."""
        await self._channel.close()


@contextmanager
def bank_errors() -> Iterator[None]:
    """Raises the bank's refusals as domain errors; whatever leaves the outcome unknown is Unavailable."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _translated(error) from None


def _translated(error: grpc.aio.AioRpcError) -> CodebankError:
    kind = _ERRORS.get(error.code())
    if kind is None:
        return Unavailable(f"the bank does not answer ({error.code().name.lower()})")
    detail = error.details() or error.code().name.lower()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if kind is Busy:
        return Busy(detail, _retry_after_seconds(status))
    if kind is Invalid:
        return Invalid(detail, tuple(_faults(status)))
    return kind(detail)


def _retry_after_seconds(status: object) -> int:
    retry = error_details_pb2.RetryInfo()
    for packed in getattr(status, "details", ()):
        if packed.Unpack(retry):
            return max(1, int(retry.retry_delay.seconds))
    return 1


def _faults(status: object) -> Iterator[Fault]:
    bad = error_details_pb2.BadRequest()
    for packed in getattr(status, "details", ()):
        if packed.Unpack(bad):
            for violation in bad.field_violations:
                pointer = "#/" + violation.field.replace(".", "/")
                yield Fault(pointer, violation.reason or "invalid", violation.description)
