"""The services as a page sees them (DESIGN §8), answered inside the browser, so that a test can say what they answer.

They keep what the real ones promise: one idempotency key, one order; cursors that only go forward.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import BrowserContext, Request, Route

from functions.domain.card import luhn_check_digit

Json = dict[str, Any]
Answer = tuple[int, Json, dict[str, str]]

SLUGS = ("chess-set", "ceramic-mug", "desk-lamp")


def card_number(prefix: str = "4539", digits: int = 16) -> str:
    """A number that passes every check, and is nobody's."""
    missing = digits - len(prefix) - 1
    body = prefix + f"{secrets.randbelow(10**missing):0{missing}}"
    return body + luhn_check_digit(body)


def some_card(prefix: str = "4539", digits: int = 16, cvv: str = "123") -> Json:
    """A card as ./task cards prints one."""
    return {
        "number": card_number(prefix, digits),
        "name": "Ana Lima",
        "expiration_month": 12,
        "expiration_year": 2039,
        "cvv": cvv,
    }


def problem(status: int, detail: str, *, retry_after: int | None = None, **members: Any) -> Answer:
    """A problem, as every service answers one."""
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return status, {"type": "about:blank", "title": "?", "status": status, "detail": detail, **members}, headers


def ok(body: Json, status: int = 200) -> Answer:
    """A good answer."""
    return status, body, {"Content-Type": "application/json"}


class FakeServices:
    """Products, orders, sessions and entries. A test changes the attributes, or queues answers to the next orders."""

    def __init__(self) -> None:
        self.products: list[Json] = [
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, slug)),
                "slug": slug,
                "name": slug.replace("-", " ").capitalize(),
                "description": "A thing to try the pages with.",
                "image_url": f"/images/{slug}.svg",
                "price_minor": 4900 + 1000 * position,
                "currency": "BRL",
                "created_at": "2026-01-01T00:00:00.000000Z",
            }
            for position, slug in enumerate(SLUGS)
        ]
        self.page_products = 24
        self.orders: dict[str, Json] = {}
        self.order_requests: list[Json] = []
        self.order_keys: list[str] = []
        self.next_orders: deque[Callable[[Route, Json], Answer | None]] = deque()
        self.entries: list[Json] = []
        self.card: Json | None = None
        self.next_sign_ins: deque[Answer] = deque()
        self.statement_trouble: Answer | None = None
        self.statement_requests = 0
        self.unreachable = False

    def attach(self, context: BrowserContext) -> None:
        """Answers whatever a page of the context asks of /api/."""
        context.route(re.compile(r"/api/"), self._handle)

    def product(self, slug: str) -> Json:
        """The product of a slug."""
        return next(product for product in self.products if product["slug"] == slug)

    def sign_in(self, last4: str = "4242") -> None:
        """As if the cookie of a session were there."""
        self.card = {"token": str(uuid.uuid5(uuid.NAMESPACE_URL, last4)), "brand": "visa", "last4": last4}

    def add_entry(self, amount_minor: int, *, days_ago: int = 0, kind: str = "payment", **members: Any) -> Json:
        """A new line on the statement."""
        moment = dt.datetime.now(dt.UTC) - dt.timedelta(days=days_ago) + dt.timedelta(milliseconds=len(self.entries))
        entry: Json = {
            "id": str(uuid.uuid4()),
            "kind": kind,
            "transaction_id": str(uuid.uuid4()),
            "order_id": None,
            "refund_of": None,
            "amount_minor": amount_minor,
            "currency": "BRL",
            "store": "Codeshop",
            "description": "Chess set",
            "payment_date": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            **members,
        }
        self.entries.append(entry)
        return entry

    def settle_all(self, status: str) -> None:
        """What was pending is decided."""
        for order in self.orders.values():
            order["status"] = status

    def _handle(self, route: Route) -> None:
        self.statement_requests += urlsplit(route.request.url).path == "/api/statement"
        if self.unreachable:
            route.abort("connectionrefused")
            return
        request = route.request
        path, query = urlsplit(request.url).path, parse_qs(urlsplit(request.url).query)
        answer = self._answer(route, request, path, {name: values[0] for name, values in query.items()})
        if answer is None:
            return
        status, body, headers = answer
        if status == 204:
            route.fulfill(status=status)
        elif headers["Content-Type"] == "text/csv":
            route.fulfill(status=status, body=body["text"], headers=headers)
        else:
            route.fulfill(status=status, body=json.dumps(body), headers=headers)

    def _answer(self, route: Route, request: Request, path: str, query: dict[str, str]) -> Answer | None:
        if path == "/api/products":
            return self._list_products(query)
        if path.startswith("/api/products/"):
            name = path.rpartition("/")[2]
            found = [product for product in self.products if name in {product["id"], product["slug"]}]
            return ok(found[0]) if found else problem(404, "There is no such product.")
        if path == "/api/orders":
            return self._place(route, request)
        if path.startswith("/api/orders/"):
            orders = [order for order in self.orders.values() if order["id"] == path.rpartition("/")[2]]
            return ok(orders[0]) if orders else problem(404, "There is no such order.")
        if path == "/api/session":
            return self._session(request)
        assert path == "/api/statement", path
        return self._statement(request, query)

    def _list_products(self, query: dict[str, str]) -> Answer:
        words = query.get("q", "").lower().split()
        found = [product for product in self.products if all(word in product["name"].lower() for word in words)]
        start = int(query.get("after", 0))
        end = start + self.page_products
        return ok({"items": found[start:end], "next": str(end) if len(found) > end else None})

    def _place(self, route: Route, request: Request) -> Answer | None:
        body: Json = json.loads(request.post_data or "{}")
        key = request.headers["idempotency-key"]
        self.order_requests.append(body)
        self.order_keys.append(key)
        if self.next_orders:
            return self.next_orders.popleft()(route, body)
        return self.placed(key, body)

    def placed(self, key: str, body: Json, status: str = "approved", decline_code: str | None = None) -> Answer:
        """The order of the key, made now unless it is there already, answered as checkout does."""
        if key not in self.orders:
            items = [self._item(item) for item in body["items"]]
            self.orders[key] = {
                "id": str(uuid.uuid4()),
                "status": status,
                "items": items,
                "total_minor": sum(item["price_minor"] * item["quantity"] for item in items),
                "refunded_minor": 0,
                "currency": "BRL",
                "card": {"brand": "visa", "last4": body["credit_card"]["number"][-4:]},
                "decline_code": decline_code,
                "transaction_id": None if status == "pending" else str(uuid.uuid4()),
                "created_at": "2026-11-22T12:00:00.000000Z",
            }
        order = self.orders[key]
        if order["status"] == "declined":
            return problem(402, "declined", decline_code=order["decline_code"], order=order)
        return ok(order, 202 if order["status"] == "pending" else 201)

    def _item(self, item: Json) -> Json:
        product = next(product for product in self.products if product["id"] == item["product_id"])
        return {
            "product_id": product["id"],
            "slug": product["slug"],
            "name": product["name"],
            "quantity": item["quantity"],
            "price_minor": product["price_minor"],
        }

    def _session(self, request: Request) -> Answer:
        if request.method == "DELETE":
            self.card = None
            return 204, {}, {}
        if self.next_sign_ins:
            return self.next_sign_ins.popleft()
        self.sign_in(json.loads(request.post_data or "{}")["number"][-4:])
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=15)
        return ok({"token": "t", "expires_at": expires_at.isoformat(), "card": self.card}, 201)

    def _statement(self, request: Request, query: dict[str, str]) -> Answer:
        if self.card is None:
            return problem(401, "Sign in with a card to see its statement.")
        if self.statement_trouble is not None:
            return self.statement_trouble
        if "text/csv" in request.headers["accept"]:
            return self._csv(query)
        start, limit = int(query.get("after", 0)), int(query.get("limit", 100))
        found = [
            (position, entry)
            for position, entry in enumerate(self.entries, 1)
            if position > start and query.get("from", "") <= entry["payment_date"] < query.get("to", "9")
        ][:limit]
        following = found[-1][0] if len(found) == limit else len(self.entries)
        card = {name: self.card[name] for name in ("brand", "last4")}
        return ok({"entries": [entry for _, entry in found], "next": str(following), "card": card})

    def _csv(self, query: dict[str, str]) -> Answer:
        """Two entries a file, so that a whole statement is several."""
        start = int(query.get("after", 0))
        rows = [f"{entry['id']},{entry['amount_minor']}" for entry in self.entries[start : start + 2]]
        headers = {"Content-Type": "text/csv"}
        if start + 2 < len(self.entries):
            headers["Link"] = f'</api/statement?after={start + 2}>; rel="next"'
        return 200, {"text": "\r\n".join(["id,amount_minor", *rows, ""])}, headers
