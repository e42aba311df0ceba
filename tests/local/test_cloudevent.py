"""CloudEvents between HTTP and the log."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.cloudevent import NotACloudEvent, record_of_request, request_of_record, with_attributes
from local.log.port import Delivered, Record

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def delivered(record: Record) -> Delivered:
    return Delivered(record, "t", 3, 42, NOW)


@given(st.text(min_size=1, alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_any_text_in_an_attribute_survives_the_way_through_the_log(text: str) -> None:
    required = {"specversion": "1.0", "id": text, "type": "t", "source": "/s"}
    sent = with_attributes([(b"content-type", b"application/json")], required)
    assert all(value.isascii() and b" " not in value for _, value in sent)
    record = record_of_request(sent, b"{}")
    assert dict(record.headers)["ce_id"] == text.encode()
    headers, body = request_of_record(delivered(record), "/source")
    assert sorted(headers) == sorted(sent)
    assert body == b"{}"


def test_a_record_that_is_no_event_becomes_one_of_the_platform_s_type() -> None:
    headers, body = request_of_record(delivered(Record(b"raw", b"k", (("other", b"x"),))), "/apis/source")
    assert dict(headers) == {
        b"ce-specversion": b"1.0",
        b"ce-id": b"partition:3/offset:42",
        b"ce-type": b"dev.knative.kafka.event",
        b"ce-source": b"/apis/source#t",
    }
    assert body == b"raw"


EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "café", "partitionkey": "k"}


def structured_request(event: object) -> Record:
    headers = [(b"content-type", b"application/cloudevents+json; charset=utf-8")]
    return record_of_request(headers, json.dumps(event).encode())


@pytest.mark.parametrize(
    ("member", "content_type", "data"),
    [
        ({"data": {"a": "é"}}, "application/json", '{"a": "é"}'.encode()),
        ({"data": "text", "datacontenttype": "text/plain"}, "text/plain", b"text"),
        ({"data_base64": "AP8=", "datacontenttype": "image/png"}, "image/png", b"\x00\xff"),
        ({}, "application/json", b""),
    ],
)
def test_an_event_in_one_piece_is_the_same_event_in_binary_mode(
    member: dict[str, object], content_type: str, data: bytes
) -> None:
    record = structured_request(EVENT | member)
    headers = dict(record.headers)
    assert (record.key, record.value) == (b"k", data)
    assert headers["ce_subject"] == "café".encode()
    assert headers["content-type"] == content_type.encode()


@pytest.mark.parametrize("data", [b'{"a": 1}', b"{not json", b"", b"\xff"])
def test_a_record_in_one_piece_is_posted_as_the_event_that_was_sent(data: bytes) -> None:
    headers = [(b"ce-" + name.encode(), value.encode()) for name, value in EVENT.items() if name != "subject"]
    headers.append((b"content-type", b"application/json"))
    record = record_of_request(headers, data, structured=True)
    assert dict(record.headers) == {"content-type": b"application/cloudevents+json"}
    posted, body = request_of_record(Delivered(record, "t", 0, 0, NOW), "/source")
    assert sorted(posted) == sorted(headers)
    assert body == data


@pytest.mark.parametrize("event", [[], {**EVENT, "id": None}, {**EVENT, "Bad": 1}, {**EVENT, "x": {}}, {"data": 1}])
def test_what_is_not_an_event_in_one_piece_is_refused(event: object) -> None:
    with pytest.raises(NotACloudEvent):
        structured_request(event)


@pytest.mark.parametrize(
    ("headers", "content_type"),
    [
        ((), None),
        ((("content-type", b"text/plain"),), b"text/plain"),
        ((("ce_id", b"\xff"),), None),
        ((("content-type", b"application/cloudevents+json"),), b"application/cloudevents+json"),
    ],
)
def test_a_record_that_is_no_event_gets_the_platforms_attributes(
    headers: tuple[tuple[str, bytes], ...], content_type: bytes | None
) -> None:
    delivered = Delivered(Record(b"raw", None, headers), "topic", 3, 7, NOW)
    posted, body = request_of_record(delivered, "/apis/v1/namespaces/codebank/kafkasources/post")
    assert body == b"raw"
    assert dict(posted)[b"ce-type"] == b"dev.knative.kafka.event"
    assert dict(posted)[b"ce-id"] == b"partition:3/offset:7"
    assert dict(posted)[b"ce-source"] == b"/apis/v1/namespaces/codebank/kafkasources/post#topic"
    assert dict(posted).get(b"content-type") == content_type
