"""CloudEvents between HTTP and the log."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from local.cloudevent import record_of_request, request_of_record, with_attributes
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
