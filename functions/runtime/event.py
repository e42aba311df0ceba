"""CloudEvents 1.0 in and out. The one module that imports the SDK, whose next major has another interface."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from cloudevents.conversion import to_binary
from cloudevents.http import CloudEvent
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from functions.domain.error import CodebankError, Invalid
from functions.domain.event import CATALOGUE, TransactionData, rfc3339
from functions.runtime import trace
from functions.runtime.answer import EVENT_STATUS, retry_headers
from functions.runtime.http import faults_of

_log = logging.getLogger(__name__)

JSON_MEDIA_TYPE = "application/json"


@dataclass(frozen=True)
class Event:
    """One CloudEvent. (source, id) names what it announces: a repeat has the same pair.

    data is the JSON payload as bytes; extensions are the attributes beyond the required ones, such as partitionkey.
    """

    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    data: bytes = b""
    extensions: dict[str, str] = field(default_factory=dict)

    def transaction(self) -> TransactionData:
        """The data as the catalogue defines it for the type. Raises Invalid for an unknown type or wrong data."""
        model = CATALOGUE.get(self.type)
        if model is None:
            raise Invalid(f"events of type {self.type[:100]!r} are not in the catalogue")
        try:
            return model.model_validate_json(self.data)
        except ValidationError as error:
            faults = faults_of(error, "#/data")
            first = f": {faults[0].pointer} {faults[0].detail}" if faults else ""
            raise Invalid(f"the data is not a {model.__name__}{first}", faults) from None


def announce(event_type: str, source: str, event_id: str, data: TransactionData, *, partition_key: str) -> Event:
    """The event that announces what the data says, in the context of the request that caused it."""
    extensions = {"partitionkey": partition_key}
    if traceparent := trace.current_traceparent():
        extensions["traceparent"] = traceparent
    return Event(
        id=event_id,
        source=source,
        type=event_type,
        subject=data.transaction_id,
        time=rfc3339(data.payment_date),
        data=data.model_dump_json().encode(),
        extensions=extensions,
    )


def binary_request(event: Event) -> tuple[dict[str, str], bytes]:
    """Headers and body of the event in the binary mode of the HTTP binding (CloudEvents HTTP §3.1)."""
    attributes: dict[str, Any] = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "datacontenttype": JSON_MEDIA_TYPE,
        **event.extensions,
    }
    if event.subject is not None:
        attributes["subject"] = event.subject
    if event.time is not None:
        attributes["time"] = event.time
    headers, body = to_binary(CloudEvent(attributes, event.data), lambda data: data)
    return headers, body


def _read(cloud_event: Any) -> Event:
    attributes = {key: str(value) for key, value in cloud_event.get_attributes().items()}
    known = {"id", "source", "type", "subject", "time", "specversion", "datacontenttype", "dataschema"}
    return Event(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=attributes.get("time"),
        data=_payload(cloud_event.get_data()),
        extensions={key: value for key, value in attributes.items() if key not in known},
    )


def _payload(data: Any) -> bytes:
    """The SDK parses JSON where it can and hands over bytes where it can't; the models read bytes."""
    if data is None:
        return b""
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return data.encode()
    return json.dumps(data, ensure_ascii=False).encode()


def now_text() -> str:
    """This moment, as the time attribute wants it."""
    return rfc3339(dt.datetime.now(dt.UTC))


def event_function(handler: Callable[[Event], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """The functions-framework CloudEvent function that runs the handler and answers by the error table.

    Done, or done before, is 2xx. What the table does not know is our fault: 500, with the traceback in the log only.
    """

    async def function(cloud_event: Any) -> None:
        event = _read(cloud_event)
        try:
            await handler(event)
        except CodebankError as error:
            status = EVENT_STATUS[type(error)]
            _log.warning("refused: %s", error.detail, extra={"event_id": event.id, "status": status.value})
            raise HTTPException(status, error.detail, retry_headers(error)) from None
        except Exception:
            _log.exception("failed", extra={"event_id": event.id})
            raise HTTPException(HTTPStatus.INTERNAL_SERVER_ERROR, "failed; see the log") from None

    return function
