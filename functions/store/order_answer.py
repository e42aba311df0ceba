"""What a shopper is told about an order: its JSON, and the answer to who placed it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from functions.domain.event import rfc3339
from functions.domain.order import OrderStatus
from functions.domain.payment import DECLINE_MEANINGS, DeclineCode
from functions.runtime.problem import problem
from functions.store.orders import WholeOrder

# Whoever knows an order's address may read it, so nobody on the way keeps it.
PRIVATE: Final = {"Cache-Control": "no-store"}


def order_json(whole: WholeOrder) -> dict[str, Any]:
    """The order as the API shows it."""
    order, items = whole
    return {
        "id": str(order.id),
        "status": order.status,
        "items": [
            {
                "product_id": str(item.product_id),
                "slug": item.slug,
                "name": item.name,
                "quantity": item.quantity,
                "price_minor": item.price_minor,
            }
            for item in items
        ],
        "total_minor": order.total_minor,
        "refunded_minor": order.refunded_minor,
        "currency": order.currency,
        "card": {"brand": order.card_brand, "last4": order.card_last4},
        "decline_code": order.decline_code,
        "transaction_id": order.transaction_id,
        "created_at": rfc3339(order.created_at),
    }


def shown(whole: WholeOrder) -> Response:
    """The order, to who asks for it by its address."""
    return JSONResponse(order_json(whole), headers=PRIVATE)


def placed(whole: WholeOrder) -> Response:
    """What became of the order, to who placed it: 201 paid, 402 declined, 202 not known yet, 409 expired."""
    content, status = order_json(whole), OrderStatus(whole.order.status)
    headers = PRIVATE | {"Location": f"/api/orders/{whole.order.id}"}
    if status is OrderStatus.DECLINED:
        code = DeclineCode(whole.order.decline_code or "")
        return problem(
            HTTPStatus.PAYMENT_REQUIRED, DECLINE_MEANINGS[code], headers=headers, decline_code=code, order=content
        )
    if status is OrderStatus.EXPIRED:
        detail = "The order expired before the bank decided; nothing was charged. Order again under a new key."
        return problem(HTTPStatus.CONFLICT, detail, headers=headers, order=content)
    if status is OrderStatus.PENDING:
        return JSONResponse(content, HTTPStatus.ACCEPTED, headers)
    return JSONResponse(content, HTTPStatus.CREATED, headers)
