"""settle: brings orders in line with what the bank decided.

Started by a KafkaSource with every transaction of the bank, in any order and any number of times. Most payments are of
other merchants: what names no order, or none of ours, is done with; and so is what names an order of ours without being
its payment, which has an id of its own. An order is stored before the bank hears of it, so
ours is always there.
"""

from __future__ import annotations

import logging
from functools import cache

from functions.domain.error import Invalid, NotFound
from functions.domain.event import PaymentRefunded
from functions.domain.money import Money
from functions.domain.order import Decision, OrderStatus
from functions.runtime.database import Database
from functions.runtime.event import Event, event_function
from functions.store.charges import payment_id_of
from functions.store.orders import Orders
from functions.store.products import uuid_of

_log = logging.getLogger(__name__)


@cache
def orders() -> Orders:
    """The orders of STORE_DATABASE_URL."""
    return Orders(Database.of("store"))


async def hear(event: Event) -> None:
    """Takes one transaction in. Raises Invalid for a malformed event, Conflict for one that contradicts the order."""
    data = event.transaction()
    order_id = uuid_of(data.order_id or "")
    if order_id is None:
        return
    if (data.refund_of or data.transaction_id) != payment_id_of(order_id):
        _log.warning("another merchant's payment names an order of ours", extra={"event_id": event.id})
        return
    try:
        amount = Money(data.amount_minor, data.currency)
    except ValueError as error:
        raise Invalid(str(error)) from None
    try:
        if isinstance(data, PaymentRefunded):
            await orders().refund(order_id, refund_id=data.transaction_id, payment_id=data.refund_of, amount=amount)
        else:
            decision = Decision(OrderStatus(data.status), data.transaction_id, amount, data.decline_code)
            await orders().settle(order_id, decision)
    except NotFound:
        return


settle = event_function(hear)
