"""PingSource: posts an event to a step at the times of a cron schedule."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

from functions.domain.event import rfc3339
from local import kinds
from local.console import Console
from local.kafka_source import Subscriber

PING_TYPE: Final = "dev.knative.sources.ping"
TIMEOUT_SECONDS: Final = 30.0


def next_time(schedule: str, timezone: str, after: dt.datetime) -> dt.datetime:
    """The first time of the schedule after this moment, on the clocks of the time zone."""
    local = after.astimezone(ZoneInfo(timezone))
    upcoming: dt.datetime = croniter(schedule, local).get_next(dt.datetime)
    return upcoming.astimezone(dt.UTC)


class PingSource:
    """A running source. A ping that is not taken is not repeated: the next one comes soon, and means the same."""

    def __init__(self, manifest: kinds.PingSource, subscriber: Subscriber, console: Console) -> None:
        self.name = manifest.name
        self._spec = manifest.spec
        self._uri = f"/apis/v1/namespaces/{manifest.metadata.namespace}/pingsources/{manifest.name}"
        self._subscriber = subscriber
        self._console = console

    async def run(self) -> None:
        """Pings until cancelled."""
        while True:
            now = dt.datetime.now(dt.UTC)
            upcoming = next_time(self._spec.schedule, self._spec.timezone, now)
            await asyncio.sleep((upcoming - now).total_seconds())
            await self.ping()

    async def ping(self) -> None:
        """Posts one event now."""
        headers = [
            (b"ce-specversion", b"1.0"),
            (b"ce-id", str(uuid.uuid4()).encode()),
            (b"ce-type", PING_TYPE.encode()),
            (b"ce-source", self._uri.encode()),
            (b"ce-time", rfc3339(dt.datetime.now(dt.UTC)).encode()),
            (b"content-type", self._spec.contentType.encode()),
        ]
        status, answer, _ = await self._subscriber.post(headers, self._spec.data.encode(), TIMEOUT_SECONDS)
        if not 200 <= status < 300:
            reason = answer.decode(errors="replace")[:200]
            self._console.say(f"ping {self.name} was not taken ({status}): {reason}", level="warning")
