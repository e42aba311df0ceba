"""What the bank tells Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

OUTBOX_OLDEST_SECONDS: Final = Gauge(
    "outbox_oldest_seconds", "Age of the oldest transaction that the sink has not taken yet; 0 where there is none."
)
OUTBOX_SENT: Final = Counter("outbox_sent", "Events that the sink has taken.")
OUTBOX_FAILURES: Final = Counter("outbox_failures", "Attempts that the sink did not take, by what it said.", ["answer"])
