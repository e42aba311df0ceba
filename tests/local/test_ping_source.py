"""PingSource: the times of its schedule, on the clocks of its time zone."""

from __future__ import annotations

import datetime as dt

import pytest

from local import kinds
from local.cloudevent import record_of_request
from local.console import Console
from local.ping_source import PingSource, next_time
from tests.local.test_kafka_source import Recorder


@pytest.mark.parametrize(
    ("schedule", "timezone", "after", "expected"),
    [
        ("* * * * *", "UTC", "2026-01-01T00:00:30", "2026-01-01T00:01:00"),
        ("0 9 * * *", "America/Sao_Paulo", "2026-01-01T00:00:00", "2026-01-01T12:00:00"),
        # Clocks in New York went forward at 07:00 UTC.
        ("30 3 * * *", "America/New_York", "2026-03-08T05:00:00", "2026-03-08T07:30:00"),
    ],
)
def test_the_next_time_of_a_schedule(schedule: str, timezone: str, after: str, expected: str) -> None:
    moment = dt.datetime.fromisoformat(after).replace(tzinfo=dt.UTC)
    assert next_time(schedule, timezone, moment) == dt.datetime.fromisoformat(expected).replace(tzinfo=dt.UTC)


@pytest.mark.anyio
async def test_a_ping_is_a_cloudevent_of_the_platform_s_type(console: Console) -> None:
    manifest = kinds.PingSource.model_validate(
        {
            "apiVersion": "sources.knative.dev/v1",
            "kind": "PingSource",
            "metadata": {"name": "tick"},
            "spec": {
                "schedule": "* * * * *",
                "data": '{"a": 1}',
                "sink": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "step"}},
            },
        }
    )
    step = Recorder("step")
    source = PingSource(manifest, step, console)
    await source.ping()
    await source.ping()
    attributes = [attributes for attributes, _ in step.posted]
    assert {each["ce-type"] for each in attributes} == {"dev.knative.sources.ping"}
    assert {each["ce-source"] for each in attributes} == {"/apis/v1/namespaces/codebank/pingsources/tick"}
    assert len({each["ce-id"] for each in attributes}) == 2
    headers = [(name.encode(), value.encode()) for name, value in attributes[0].items()]
    assert record_of_request(headers, step.posted[0][1]).value == b'{"a": 1}'
