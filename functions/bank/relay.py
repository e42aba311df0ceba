"""relay: publishes what the outbox still holds.

Started by a PingSource every minute. The bank itself publishes right after each commit, so there is something to do
only after a crash, or after the sink was away. Also deletes rows that were sent long ago.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from functions.bank.database import Database
from functions.bank.outbox import Outbox, Published
from functions.bank.payments import now_utc
from functions.domain.error import Invalid, Unavailable
from functions.runtime.event import Event, event_function
from functions.runtime.sink import HttpSink

PING: Final = "dev.knative.sources.ping"


@cache
def outbox() -> Outbox:
    """The bank's outbox (BANK_DATABASE_URL), published to K_SINK."""
    return Outbox(Database.of_settings(), HttpSink.bound())


async def publish(event: Event) -> None:
    """Answers 2xx once nothing is left, 503 while the sink or the database is away."""
    if event.type != PING:
        raise Invalid(f"the relay is started by {PING}")
    published = await outbox().publish()
    await outbox().prune(now_utc())
    await outbox().measure()
    if published is Published.SINK_AWAY:
        raise Unavailable("the sink does not take events now")


relay = event_function(publish)
