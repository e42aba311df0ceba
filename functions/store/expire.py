"""expire: brings orders to their end that were left pending.

Started by a PingSource every minute. An order is left pending where the bank's answer was lost or never came. The bank
is asked to cancel it: it answers what it decided, or sees to it that a charge that is still on its way is refused.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import cache
from typing import Final

from functions.runtime import settings
from functions.runtime.bank import Bank
from functions.runtime.database import Database
from functions.runtime.event import Event, event_function
from functions.store.charges import Charges
from functions.store.orders import Order, Orders

PENDING_SECONDS_DEFAULT: Final = 120
"""How long an order may stay pending: well past the longest that a checkout waits for the bank."""

PENDING_SECONDS_MAX: Final = 24 * 60 * 60
PAGE_ORDERS: Final = 20
PAGES_MAX: Final = 25
"""A run ends after so many pages; the next one goes on."""


@cache
def orders() -> Orders:
    """The orders of STORE_DATABASE_URL."""
    return Orders(Database.of("store"))


@cache
def charges() -> Charges:
    """The bank at BANK_ADDRESS, for the merchant whose BANK_TOKEN it is."""
    return Charges(Bank.of_settings())


async def end(order: Order) -> None:
    """Brings one order to its end."""
    await orders().settle(order.id, await charges().cancel(order.id))


async def end_old_orders(event: Event) -> None:
    """Ends what is older than PENDING_SECONDS, oldest first. Raises Unavailable while the bank is away."""
    age_seconds = settings.integer("PENDING_SECONDS", PENDING_SECONDS_DEFAULT, minimum=0, maximum=PENDING_SECONDS_MAX)
    placed_before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_seconds)
    for _ in range(PAGES_MAX):
        page = await orders().pending(before=placed_before, limit=PAGE_ORDERS)
        outcomes = await asyncio.gather(*map(end, page), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        if len(page) < PAGE_ORDERS:
            return


expire = event_function(end_old_orders)
