"""CloudEvents between HTTP and the log: the HTTP and Kafka protocol bindings, binary mode on both sides.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from local.log.port import Delivered, Record

Headers = list[tuple[bytes, bytes]]

REQUIRED: Final = ("id", "source", "type", "specversion")
PARTITION_KEY: Final = "partitionkey"
# Attribute names are lower-case letters and digits (CloudEvents 1.0 §3, naming conventions).
_NAME: Final = re.compile(r"[a-z0-9]{1,50}")
# Of printable ASCII, the space, the quote and the percent sign are encoded too (HTTP binding §3.1.3.2).
_UNENCODED: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
KAFKA_EVENT_TYPE: Final = "dev.knative.kafka.event"
"""The type that the platform gives to records that are not CloudEvents."""


class NotACloudEvent(Exception):
    """What was sent is not a CloudEvent; the message says why."""


def record_of_request(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Record:
    """The record that a KafkaSink appends for a request in binary mode. Raises NotACloudEvent."""
    attributes: dict[str, str] = {}
    content_type = b""
    for name, value in headers:
        if name == b"content-type":
            content_type = value
        elif name.startswith(b"ce-"):
            attribute = name[3:].decode("latin-1")
            if not _NAME.fullmatch(attribute):
                raise NotACloudEvent(f"{attribute!r} is not the name of an attribute")
            attributes[attribute] = unquote(value.decode("latin-1"), errors="strict")
    missing = [name for name in REQUIRED if not attributes.get(name)]
    if missing:
        raise NotACloudEvent(f"the attribute {missing[0]} is missing")
    if attributes["specversion"] != "1.0":
        raise NotACloudEvent(f"the specversion {attributes['specversion'][:20]!r} is not 1.0")
    key = attributes.get(PARTITION_KEY)
    record_headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    if content_type:
        record_headers.append(("content-type", content_type))
    return Record(body, key.encode() if key else None, tuple(record_headers))


def request_of_record(delivered: Delivered, source: str) -> tuple[Headers, bytes]:
    """Headers and body by which a KafkaSource posts a record.

    A record that is not a CloudEvent is given the platform's type, the source (a URI reference) and an id that derives
    from its place.
    """
    headers: Headers = []
    for name, value in delivered.record.headers:
        if name.startswith("ce_"):
            headers.append((b"ce-" + name[3:].encode(), quote(value.decode(), safe=_UNENCODED).encode()))
        elif name == "content-type":
            headers.append((b"content-type", value))
    if not any(name == b"ce-id" for name, _ in headers):
        identity = f"partition:{delivered.partition}/offset:{delivered.offset}"
        headers = [
            (b"ce-specversion", b"1.0"),
            (b"ce-id", identity.encode()),
            (b"ce-type", KAFKA_EVENT_TYPE.encode()),
            (b"ce-source", f"{source}#{delivered.topic}".encode()),
        ]
    return headers, delivered.record.value


def with_attributes(headers: Headers, attributes: dict[str, str]) -> Headers:
    """The headers with these attributes added or replaced."""
    names = {b"ce-" + name.encode() for name in attributes}
    kept = [(name, value) for name, value in headers if name not in names]
    added = [(b"ce-" + name.encode(), quote(value, safe=_UNENCODED).encode()) for name, value in attributes.items()]
    return kept + added
