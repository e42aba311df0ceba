"""checkout: takes an order, stores it as pending, charges the bank, and answers with the outcome.

Started by POST /api/orders with an Idempotency-Key, and by GET /api/orders/{id}. The order is stored before the bank is
asked, and the bank is asked under a key that derives from the order: so a repeat of a pending order asks again, also
while the first attempt is still running, and both hear the same. What stays unknown is answered with 202; settle or
expire bring it to its end.
"""

from __future__ import annotations

import datetime as dt
import logging
from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from functions.domain.card import CardProof
from functions.domain.error import Busy, NotFound, Unavailable
from functions.domain.order import OrderStatus
from functions.runtime.bank import Bank
from functions.runtime.database import Database
from functions.runtime.http import http_function, read_body, route
from functions.store import order_answer
from functions.store.charges import Charges
from functions.store.order_form import OrderForm, idempotency_key
from functions.store.orders import Orders, WholeOrder
from functions.store.products import uuid_of

_log = logging.getLogger(__name__)


@cache
def orders() -> Orders:
    """The orders of STORE_DATABASE_URL."""
    return Orders(Database.of("store"))


@cache
def charges() -> Charges:
    """The bank at BANK_ADDRESS, for the merchant whose BANK_TOKEN it is."""
    return Charges(Bank.of_settings())


async def place(request: Request) -> Response:
    """Places an order, or repeats the answer to one that was placed under the same key."""
    wanted, proof = (await read_body(request, OrderForm)).read(dt.datetime.now(dt.UTC))
    whole = await orders().place(idempotency_key(request, proof), wanted)
    if whole.order.status == OrderStatus.PENDING:
        whole = await _charged(whole, proof)
    return order_answer.placed(whole)


async def _charged(whole: WholeOrder, proof: CardProof) -> WholeOrder:
    """The order with what the bank decided; still pending where that is not known, or could not be stored."""
    try:
        decision = await charges().pay(whole, proof)
    except Unavailable as error:
        _log.warning("the order stays pending: %s", error.detail, extra={"order_id": str(whole.order.id)})
        return whole
    try:
        return WholeOrder(await orders().settle(whole.order.id, decision), whole.items)
    except (Busy, Unavailable) as error:
        _log.warning("the decision is not stored yet: %s", error.detail, extra={"order_id": str(whole.order.id)})
        return whole


async def show(request: Request) -> Response:
    """One order, to whoever knows its id."""
    order_id = uuid_of(request.path_params["id"])
    if order_id is None:
        raise NotFound("There is no such order.")
    return order_answer.shown(await orders().find(order_id))


checkout = http_function(route("POST", "/api/orders", place), route("GET", "/api/orders/{id}", show))
