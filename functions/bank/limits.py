"""The bank's limits on what a caller may send, and on how much at once."""

from __future__ import annotations

from typing import Final

MESSAGE_BYTES_MAX: Final = 64 * 1024
METADATA_BYTES_MAX: Final = 16 * 1024
CONCURRENT_CALLS_MAX: Final = 4000
CONCURRENT_STREAMS_MAX: Final = 1000
"""Calls at once on one connection (HTTP/2 SETTINGS_MAX_CONCURRENT_STREAMS); a client queues what is over."""

KEEPALIVE_MILLISECONDS: Final = 60_000
"""How often a silent connection is asked whether its client still is there."""

CLIENT_PING_MILLISECONDS_MIN: Final = 10_000
"""Clients that ask more often than this while nothing is under way are sent away."""

IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
STORE_CHARACTERS_MAX: Final = 255
DESCRIPTION_CHARACTERS_MAX: Final = 1000
ORDER_ID_CHARACTERS_MAX: Final = 64

PAGE_ROWS_DEFAULT: Final = 100
PAGE_ROWS_MAX: Final = 1000
