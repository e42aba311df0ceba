"""CloudEvents between HTTP and the log: the HTTP and Kafka protocol bindings, in binary and in structured mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from local.log.port import Delivered, Record

Headers = list[tuple[bytes, bytes]]

REQUIRED: Final = ("id", "source", "type", "specversion")
PARTITION_KEY: Final = "partitionkey"
DATA_CONTENT_TYPE: Final = "datacontenttype"
CONTENT_TYPE: Final = "content-type"
STRUCTURED: Final = "application/cloudevents+json"
# Attribute names are lower-case letters and digits (CloudEvents 1.0 §3, naming conventions).
_NAME: Final = re.compile(r"[a-z0-9]{1,50}")
# Of printable ASCII, the space, the quote and the percent sign are encoded too (HTTP binding §3.1.3.2).
_UNENCODED: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
KAFKA_EVENT_TYPE: Final = "dev.knative.kafka.event"
"""The type that the platform gives to records that are not CloudEvents."""


class NotACloudEvent(Exception):
    """What was sent is not a CloudEvent; the message says why."""


def record_of_request(headers: Iterable[tuple[bytes, bytes]], body: bytes, *, structured: bool = False) -> Record:
    """The record that a KafkaSink appends for a request in either mode. Raises NotACloudEvent.

    structured: the record holds the whole event as JSON, instead of attributes in headers.
    """
    attributes, data = _read_request(headers, body)
    missing = [name for name in REQUIRED if not attributes.get(name)]
    if missing:
        raise NotACloudEvent(f"the attribute {missing[0]} is missing")
    if attributes["specversion"] != "1.0":
        raise NotACloudEvent(f"the specversion {attributes['specversion'][:20]!r} is not 1.0")
    partition_key = attributes.get(PARTITION_KEY)
    key = partition_key.encode() if partition_key else None
    if structured:
        return Record(_as_json(attributes, data), key, ((CONTENT_TYPE, STRUCTURED.encode()),))
    content_type = attributes.pop(DATA_CONTENT_TYPE, "")
    record_headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    if content_type:
        record_headers.append((CONTENT_TYPE, content_type.encode("latin-1")))
    return Record(data, key, tuple(record_headers))


def _read_request(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> tuple[dict[str, str], bytes]:
    """Attributes and data of a request in either mode; the content type is the attribute datacontenttype."""
    attributes: dict[str, str] = {}
    content_type = ""
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name.startswith(b"ce-"):
            attributes[_name(name[3:].decode("latin-1"))] = unquote(value.decode("latin-1"), errors="strict")
    if _is_structured(content_type):
        return _of_json(body)
    if content_type:
        attributes[DATA_CONTENT_TYPE] = content_type
    return attributes, body


def _name(attribute: str) -> str:
    if not _NAME.fullmatch(attribute):
        raise NotACloudEvent(f"{attribute[:50]!r} is not the name of an attribute")
    return attribute


def _is_structured(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == STRUCTURED


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in {"", "application/json", "text/json"} or media_type.endswith("+json")


def _of_json(document: bytes) -> tuple[dict[str, str], bytes]:
    """Attributes and data of an event in the JSON format (CloudEvents JSON §3)."""
    try:
        event = json.loads(document)
    except ValueError:
        raise NotACloudEvent("the body is not well-formed JSON") from None
    if not isinstance(event, dict):
        raise NotACloudEvent("the body is not a JSON object")
    data = b""
    attributes = {}
    content_type = str(event.get(DATA_CONTENT_TYPE) or "application/json")
    for name, value in event.items():
        if name == "data":
            as_text = isinstance(value, str) and not _is_json(content_type)
            data = value.encode() if as_text else json.dumps(value, ensure_ascii=False).encode()
        elif name == "data_base64":
            try:
                data = b64decode(value, validate=True)
            except (ValueError, TypeError):
                raise NotACloudEvent("data_base64 is not base64") from None
        elif isinstance(value, bool):
            attributes[_name(name)] = "true" if value else "false"
        elif isinstance(value, (str, int)):
            attributes[_name(name)] = str(value)
        elif value is not None:
            raise NotACloudEvent(f"the attribute {_name(name)} is neither text, number nor boolean")
    return attributes | {DATA_CONTENT_TYPE: content_type}, data


def _as_json(attributes: dict[str, str], data: bytes) -> bytes:
    """The event in the JSON format. Data that is not JSON, whatever its type says, goes as base64."""
    event: dict[str, object] = {**attributes}
    if data:
        try:
            event["data"] = json.loads(data) if _is_json(attributes.get(DATA_CONTENT_TYPE, "")) else data.decode()
        except ValueError:
            event["data_base64"] = b64encode(data).decode()
    return json.dumps(event, ensure_ascii=False).encode()


def request_of_record(delivered: Delivered, source: str) -> tuple[Headers, bytes]:
    """Headers and body by which a KafkaSource posts a record: in binary mode, whichever mode the record has.

    A record that is not a CloudEvent is given the platform's type, the source (a URI reference) and an id that derives
    from its place.
    """
    record = delivered.record
    found = dict(record.headers)
    content_type = found.get(CONTENT_TYPE, b"").decode("latin-1")
    if _is_structured(content_type):
        try:
            attributes, data = _of_json(record.value)
        except (NotACloudEvent, UnicodeDecodeError):
            return _raw(delivered, source, content_type), record.value
        return _headers(attributes), data
    try:
        attributes = {_name(name[3:]): value.decode() for name, value in record.headers if name.startswith("ce_")}
    except (NotACloudEvent, UnicodeDecodeError):
        attributes = {}
    if not attributes.get("id"):
        return _raw(delivered, source, content_type), record.value
    if content_type:
        attributes[DATA_CONTENT_TYPE] = content_type
    return _headers(attributes), record.value


def _raw(delivered: Delivered, source: str, content_type: str) -> Headers:
    attributes = {
        "specversion": "1.0",
        "id": f"partition:{delivered.partition}/offset:{delivered.offset}",
        "type": KAFKA_EVENT_TYPE,
        "source": f"{source}#{delivered.topic}",
    }
    return _headers(attributes | ({DATA_CONTENT_TYPE: content_type} if content_type else {}))


def _headers(attributes: dict[str, str]) -> Headers:
    headers: Headers = []
    for name, value in attributes.items():
        if name == DATA_CONTENT_TYPE:
            headers.append((b"content-type", value.encode("latin-1", errors="replace")))
        else:
            headers.append((b"ce-" + name.encode(), quote(value, safe=_UNENCODED).encode()))
    return headers


def with_attributes(headers: Headers, attributes: dict[str, str]) -> Headers:
    """The headers with these attributes added or replaced."""
    names = {b"ce-" + name.encode() for name in attributes}
    kept = [(name, value) for name, value in headers if name not in names]
    added = [(b"ce-" + name.encode(), quote(value, safe=_UNENCODED).encode()) for name, value in attributes.items()]
    return kept + added
