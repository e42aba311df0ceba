"""checkout: an order is stored, charged once, and answered with what is known."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sys
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest

from functions.domain.error import Unavailable
from functions.domain.order import Decision
from functions.runtime.bank import Bank
from functions.runtime.database import Database
from functions.store.charges import Charges
from functions.store.orders import Order, Orders
from functions.store.products import Product
from local.engines.engine import free_port
from protos.codebank.bank.v1 import bank_pb2
from tests.functions.fake_bank import MERCHANT_TOKEN, FakeBank, new_card_number
from tests.functions.steps import Serve, Steps
from tests.waiting import until

pytestmark = pytest.mark.anyio

Body = Callable[..., dict[str, Any]]

PATIENCE_SECONDS = 0.3


@pytest.fixture
def checkout(database: Database, bank: FakeBank, steps: Steps) -> httpx.AsyncClient:
    return steps.client("checkout")


@pytest.fixture
async def impatient(checkout: httpx.AsyncClient, bank: FakeBank, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same checkout, which waits for the bank no longer than a test wants to."""
    channel = Bank(bank.address, MERCHANT_TOKEN)
    charges = Charges(channel, timeout_seconds=PATIENCE_SECONDS)
    monkeypatch.setattr(sys.modules["checkout"], "charges", lambda: charges)
    yield checkout
    await channel.close()


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    async with database.engine.begin() as connection:
        return [tuple(row) for row in await connection.exec_driver_sql(query)]


async def test_an_approved_order_is_answered_with_what_was_bought(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str], products: dict[str, Product]
) -> None:
    body = order_body(espresso_machine=1, ceramic_mug=3)
    answer = await checkout.post("/api/orders", json=body, headers=key)
    order = answer.json()
    (transaction,) = bank.transactions.values()
    total_minor = products["espresso-machine"].price_minor + 3 * products["ceramic-mug"].price_minor
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/orders/{order['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert order == {
        "id": str(uuid.UUID(order["id"])),
        "status": "approved",
        "items": [
            {
                "product_id": str(products[slug].id),
                "slug": slug,
                "name": products[slug].name,
                "quantity": quantity,
                "price_minor": products[slug].price_minor,
            }
            for slug, quantity in (("espresso-machine", 1), ("ceramic-mug", 3))
        ],
        "total_minor": total_minor,
        "refunded_minor": 0,
        "currency": "BRL",
        "card": {"brand": "visa", "last4": body["credit_card"]["number"][-4:]},
        "decline_code": None,
        "transaction_id": transaction.id,
        "created_at": order["created_at"],
    }
    (asked,) = bank.asked
    assert (asked.amount_minor, asked.currency, asked.order_id) == (total_minor, "BRL", order["id"])
    assert (asked.store, asked.description) == ("Codeshop", "Espresso machine, 3 × Ceramic mug")
    assert asked.card.number == body["credit_card"]["number"]
    shown = await checkout.get(answer.headers["location"])
    assert (shown.status_code, shown.json(), shown.headers["cache-control"]) == (200, order, "no-store")


async def test_a_declined_order_is_answered_with_the_reason_and_the_order(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str]
) -> None:
    bank.decline_code = bank_pb2.DECLINE_CODE_INSUFFICIENT_FUNDS
    answer = await checkout.post("/api/orders", json=order_body(), headers=key)
    problem = answer.json()
    assert answer.status_code == 402
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["decline_code"] == "insufficient_funds"
    assert problem["order"]["status"] == "declined"
    assert problem["order"]["decline_code"] == "insufficient_funds"
    assert answer.headers["location"] == f"/api/orders/{problem['order']['id']}"


@pytest.mark.parametrize("code", bank_pb2.DeclineCode.keys()[1:])
async def test_every_decline_code_of_the_bank_has_a_word(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str], code: str
) -> None:
    bank.decline_code = bank_pb2.DeclineCode.Value(code)
    answer = await checkout.post("/api/orders", json=order_body(), headers=key)
    assert answer.json()["decline_code"] == code.removeprefix("DECLINE_CODE_").lower()


async def test_the_same_request_under_the_same_key_gets_the_first_answer(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str], database: Database
) -> None:
    body = order_body()
    first = await checkout.post("/api/orders", json=body, headers=key)
    await rows(database, "update products set price_minor = price_minor * 2 returning 1")
    again = await checkout.post("/api/orders", json=body, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert len(bank.asked) == 1


async def test_an_order_placed_before_is_repeated_although_its_products_are_gone(
    checkout: httpx.AsyncClient, order_body: Body, key: dict[str, str], database: Database
) -> None:
    body = order_body()
    first = await checkout.post("/api/orders", json=body, headers=key)
    await rows(database, "delete from products returning 1")
    assert (await checkout.post("/api/orders", json=body, headers=key)).json() == first.json()
    assert (await checkout.get(first.headers["location"])).json() == first.json()


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["items"][0].update(quantity=9),
        lambda body: body["items"].pop(),
        lambda body: body["credit_card"].update(number=new_card_number("37", 15), cvv="1234"),
        lambda body: body["credit_card"].update(expiration_month=11),
        lambda body: body["credit_card"].update(name="Bia Lima"),
    ],
)
async def test_another_request_under_the_same_key_is_refused(
    checkout: httpx.AsyncClient,
    bank: FakeBank,
    order_body: Body,
    key: dict[str, str],
    change: Callable[[dict[str, Any]], object],
) -> None:
    body = order_body()
    await checkout.post("/api/orders", json=body, headers=key)
    change(body)
    answer = await checkout.post("/api/orders", json=body, headers=key)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(bank.asked) == 1


async def test_the_same_request_many_times_at_once_is_one_order_and_one_charge(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str], database: Database
) -> None:
    body = order_body()
    answers = await asyncio.gather(*(checkout.post("/api/orders", json=body, headers=key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(bank.transactions) == 1
    assert len(await rows(database, "select id from orders")) == 1


async def test_different_requests_at_once_under_one_key_are_one_order(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str], database: Database
) -> None:
    bodies = [order_body(chess_set=quantity) for quantity in range(1, 7)]
    answers = await asyncio.gather(*(checkout.post("/api/orders", json=body, headers=key) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert len(bank.transactions) == 1
    assert len(await rows(database, "select id from orders")) == 1


async def test_an_order_is_stored_as_pending_before_the_bank_is_asked(
    impatient: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str], database: Database
) -> None:
    bank.silent_before_deciding = True
    running = asyncio.create_task(impatient.post("/api/orders", json=order_body(), headers=key))
    await until(lambda: bank.asked, "the bank is asked")
    assert await rows(database, "select id::text, status from orders") == [(bank.asked[0].order_id, "pending")]
    assert (await running).status_code == 202


async def test_a_bank_that_is_away_leaves_the_order_pending_until_a_repeat_finds_it_back(
    impatient: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str]
) -> None:
    body = order_body()
    await bank.stop()
    away = await impatient.post("/api/orders", json=body, headers=key)
    assert (away.status_code, away.json()["status"], away.json()["transaction_id"]) == (202, "pending", None)
    assert (await impatient.get(away.headers["location"])).json() == away.json()
    await bank.start()

    async def repeated() -> httpx.Response | None:
        answer = await impatient.post("/api/orders", json=body, headers=key)
        return answer if answer.status_code != 202 else None

    back = await until(repeated, "the bank is found again")
    assert back is not None
    assert (back.status_code, back.json()["id"]) == (201, away.json()["id"])
    assert len(bank.transactions) == 1


async def test_an_answer_that_never_comes_leaves_the_order_pending_and_a_repeat_hears_the_decision(
    impatient: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str]
) -> None:
    body = order_body()
    bank.silent_after_deciding = True
    unknown = await impatient.post("/api/orders", json=body, headers=key)
    assert (unknown.status_code, unknown.json()["status"]) == (202, "pending")
    bank.silent_after_deciding = False
    known = await impatient.post("/api/orders", json=body, headers=key)
    assert (known.status_code, known.json()["id"]) == (201, unknown.json()["id"])
    assert len(bank.transactions) == 1


async def test_a_lost_answer_is_never_a_second_charge(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str]
) -> None:
    body = order_body()
    bank.lost_answers = 2
    answers = [await checkout.post("/api/orders", json=body, headers=key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(bank.transactions) == 1


async def test_a_bank_that_is_too_busy_has_charged_nothing_and_says_when_to_try_again(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str], database: Database
) -> None:
    body = order_body()
    bank.refuse_with = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests wait already")
    busy = await checkout.post("/api/orders", json=body, headers=key)
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
    assert await rows(database, "select status from orders") == [("pending",)]
    bank.refuse_with = None
    assert (await checkout.post("/api/orders", json=body, headers=key)).status_code == 201


async def test_a_bank_that_does_not_know_the_shop_is_our_fault_and_not_the_shoppers(
    checkout: httpx.AsyncClient,
    bank: FakeBank,
    order_body: Body,
    key: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = order_body()
    bank.refuse_with = (grpc.StatusCode.UNAUTHENTICATED, "the token has expired")
    answer = await checkout.post("/api/orders", json=body, headers=key)
    assert answer.status_code == 500
    assert "token" not in answer.text
    assert "the token has expired" in caplog.text
    assert body["credit_card"]["number"] not in caplog.text


async def test_an_order_that_was_cancelled_at_the_bank_is_expired_and_says_that_nothing_was_charged(
    impatient: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str]
) -> None:
    body = order_body()
    bank.silent_before_deciding = True
    pending = await impatient.post("/api/orders", json=body, headers=key)
    bank.silent_before_deciding = False
    bank.fenced.add(bank.asked[0].idempotency_key)
    for _ in range(2):
        answer = await impatient.post("/api/orders", json=body, headers=key)
        assert answer.status_code == 409
        assert answer.json()["order"] == pending.json() | {"status": "expired"}
    assert not bank.transactions


async def test_a_decision_that_cannot_be_stored_leaves_the_order_pending(
    checkout: httpx.AsyncClient, order_body: Body, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Orders.settle

    async def away(self: Orders, order_id: uuid.UUID, decision: Decision) -> Order:
        raise Unavailable("the database does not answer")

    body = order_body()
    monkeypatch.setattr(Orders, "settle", away)
    assert (await checkout.post("/api/orders", json=body, headers=key)).status_code == 202
    monkeypatch.setattr(Orders, "settle", settle)
    assert (await checkout.post("/api/orders", json=body, headers=key)).status_code == 201


async def test_without_its_database_nothing_is_charged(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    answer = await checkout.post("/api/orders", json=order_body(), headers=key)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert not bank.asked


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        (lambda body: body.pop("credit_card"), "#/credit_card", "required"),
        (lambda body: body.update(credit_card=[]), "#/credit_card", "wrong_type"),
        (lambda body: body.update(coupon="FREE"), "#/coupon", "unknown_field"),
        (lambda body: body["credit_card"].pop("number"), "#/credit_card/number", "required"),
        (lambda body: body["credit_card"].update(number=4111), "#/credit_card/number", "wrong_type"),
        (lambda body: body["credit_card"].update(number="4" * 16), "#/credit_card/number", "invalid_number"),
        (lambda body: body["credit_card"].update(number="letters"), "#/credit_card/number", "invalid_number"),
        (lambda body: body["credit_card"].update(number=""), "#/credit_card/number", "invalid_number"),
        (lambda body: body["credit_card"].update(cvv="12"), "#/credit_card/cvv", "invalid_cvv"),
        (lambda body: body["credit_card"].update(cvv="1234"), "#/credit_card/cvv", "invalid_cvv"),
        (lambda body: body["credit_card"].update(cvv=123), "#/credit_card/cvv", "wrong_type"),
        (lambda body: body["credit_card"].update(expiration_month=13), "#/credit_card/expiration_month", None),
        (lambda body: body["credit_card"].update(expiration_month="12"), "#/credit_card/expiration_month", None),
        (lambda body: body["credit_card"].update(expiration_month=True), "#/credit_card/expiration_month", None),
        (lambda body: body["credit_card"].update(expiration_year=27), "#/credit_card/expiration_year", None),
        (lambda body: body["credit_card"].update(expiration_year=10**30), "#/credit_card/expiration_year", None),
        (lambda body: body["credit_card"].update(expiration_year=2020), "#/credit_card/expiration_year", "expired"),
        (lambda body: body["credit_card"].update(name=" "), "#/credit_card/name", "required"),
        (lambda body: body["credit_card"].update(name="x" * 101), "#/credit_card/name", "invalid_name"),
        (lambda body: body["credit_card"].update(name="a\0b"), "#/credit_card/name", "invalid_name"),
        (lambda body: body.update(items=[]), "#/items", "too_few"),
        (lambda body: body.update(items=body["items"] * 26), "#/items", "too_many"),
        (lambda body: body.update(items=body["items"][:1] * 2), "#/items/1/product_id", "repeated"),
        (lambda body: body["items"][1].update(quantity=0), "#/items/1/quantity", "out_of_range"),
        (lambda body: body["items"][1].update(quantity=10_000), "#/items/1/quantity", "out_of_range"),
        (lambda body: body["items"][1].update(quantity=1.5), "#/items/1/quantity", "wrong_type"),
        (lambda body: body["items"][1].update(product_id=str(uuid.uuid4())), "#/items/1/product_id", "unknown_product"),
        (lambda body: body["items"][1].update(product_id="chess-set"), "#/items/1/product_id", "unknown_product"),
        (lambda body: body["items"][1].update(product_id="x" * 65), "#/items/1/product_id", "too_long"),
    ],
)
async def test_a_mistake_is_pointed_at_and_nothing_is_stored_or_charged(
    checkout: httpx.AsyncClient,
    bank: FakeBank,
    order_body: Body,
    key: dict[str, str],
    database: Database,
    change: Callable[[dict[str, Any]], object],
    pointer: str,
    code: str | None,
) -> None:
    body = order_body()
    change(body)
    answer = await checkout.post("/api/orders", json=body, headers=key)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert code in (None, error["code"])
    assert not bank.asked
    assert await rows(database, "select id from orders") == []


async def test_every_mistake_is_told_at_once(
    checkout: httpx.AsyncClient, order_body: Body, key: dict[str, str]
) -> None:
    body = order_body(card={"number": "4" * 16, "cvv": "x", "expiration_month": 0})
    body["items"].append(body["items"][0])
    errors = (await checkout.post("/api/orders", json=body, headers=key)).json()["errors"]
    assert {error["pointer"] for error in errors} == {
        "#/credit_card/number",
        "#/credit_card/cvv",
        "#/credit_card/expiration_month",
        "#/items/2/product_id",
    }
    assert "4444" not in str(errors)


async def test_a_card_of_this_month_is_good_and_one_of_last_month_is_not(
    checkout: httpx.AsyncClient, order_body: Body
) -> None:
    now = dt.datetime.now(dt.UTC)
    last_month = now.replace(day=1) - dt.timedelta(days=1)
    statuses = []
    for month in (now, last_month):
        card = {"expiration_month": month.month, "expiration_year": month.year}
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        statuses.append((await checkout.post("/api/orders", json=order_body(card=card), headers=headers)).status_code)
    assert statuses == [201, 422]


async def test_a_grouped_number_is_the_same_number(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, key: dict[str, str]
) -> None:
    body = order_body()
    number = body["credit_card"]["number"]
    body["credit_card"]["number"] = f"{number[:4]} {number[4:8]}-{number[8:12]} {number[12:]}"
    assert (await checkout.post("/api/orders", json=body, headers=key)).status_code == 201
    assert bank.asked[0].card.number == number


async def test_an_order_can_hold_fifty_products_and_has_a_largest_total(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, database: Database
) -> None:
    added = await rows(
        database,
        """
        insert into products (id, slug, name, description, image_url, price_minor, currency, created_at)
        select gen_random_uuid(), 'thing-' || n, 'A thing of a name that is not short, number ' || n, '', '/x.svg',
            20000, 'BRL', now()
        from generate_series(1, 50) n returning id::text
        """,
    )
    body = order_body() | {"items": [{"product_id": id_, "quantity": 99} for (id_,) in added]}
    answer = await checkout.post("/api/orders", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert (answer.status_code, answer.json()["total_minor"]) == (201, 50 * 99 * 20_000)
    assert len(bank.asked[0].description) <= 140
    assert bank.asked[0].description.endswith("more")
    await rows(database, "update products set price_minor = 100000 returning 1")
    answer = await checkout.post("/api/orders", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("#/items", "out_of_range")]


async def test_products_of_two_currencies_are_not_one_order(
    checkout: httpx.AsyncClient, order_body: Body, key: dict[str, str], database: Database
) -> None:
    await rows(database, "update products set currency = 'EUR' where slug = 'chess-set' returning 1")
    answer = await checkout.post("/api/orders", json=order_body(chess_set=1, desk_lamp=1), headers=key)
    assert [error["code"] for error in answer.json()["errors"]] == ["mixed_currencies"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 400),
        ([("Idempotency-Key", "a" * 16), ("Idempotency-Key", "b" * 16)], 400),
        ([("Idempotency-Key", "short")], 422),
        ([("Idempotency-Key", "x" * 256)], 422),
        ([("Idempotency-Key", "tab\tbetween-the-two")], 422),
        ([("Idempotency-Key", b"\xc3\xa7" * 16)], 422),
    ],
)
async def test_a_key_that_cannot_be_one_is_refused(
    checkout: httpx.AsyncClient, bank: FakeBank, order_body: Body, headers: list[tuple[str, str]], status: int
) -> None:
    answer = await checkout.post("/api/orders", json=order_body(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert not bank.asked


async def test_a_key_that_is_the_card_number_is_refused_and_not_kept(
    checkout: httpx.AsyncClient, order_body: Body, database: Database
) -> None:
    body = order_body()
    headers = {"Idempotency-Key": f"order-{body['credit_card']['number']}"}
    answer = await checkout.post("/api/orders", json=body, headers=headers)
    assert answer.status_code == 422
    assert body["credit_card"]["number"] not in answer.text
    assert await rows(database, "select id from orders") == []


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"items": NaN}', "application/json", 422),
        (b'"\xff"', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"null", "application/json", 422),
        (b"[]", "application/json; charset=utf-8", 422),
    ],
)
async def test_a_body_that_is_not_an_order_is_refused(
    checkout: httpx.AsyncClient, key: dict[str, str], content: bytes, media_type: str, status: int
) -> None:
    answer = await checkout.post("/api/orders", content=content, headers=key | {"Content-Type": media_type})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("order_id", [str(uuid.uuid4()), "1", "%00", "0" * 100, "8F1C1B0E-6D0A-5C51-9D0E-3F6B6B1C7A55"])
async def test_an_order_that_nobody_placed_is_not_found_and_not_kept(
    checkout: httpx.AsyncClient, order_id: str
) -> None:
    answer = await checkout.get(f"/api/orders/{order_id}")
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert (await checkout.get("/api/orders")).status_code == 405


async def test_neither_number_nor_cvv_is_kept_or_logged(
    checkout: httpx.AsyncClient,
    bank: FakeBank,
    order_body: Body,
    database: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    cvv = "9731"
    number = next(number for number in iter(lambda: new_card_number("37", 15), "") if cvv not in number)
    refusals = [None, (grpc.StatusCode.UNAVAILABLE, "away"), (grpc.StatusCode.INTERNAL, "broken")]
    for refusal in refusals:
        bank.refuse_with = refusal
        headers = {"Idempotency-Key": f"idempotency-{uuid.uuid4()}"}
        body = order_body(card={"number": number, "cvv": cvv})
        answer = await checkout.post("/api/orders", json=body, headers=headers)
        assert number not in answer.text
    for (table,) in await rows(database, "select tablename from pg_tables where schemaname = 'public'"):
        for row in await rows(database, f"select t::text from {table} t"):
            assert number not in row[0]
            assert cvv not in row[0].split(",")
    assert number not in caplog.text


async def test_it_is_served_as_a_process_of_its_own(
    database: Database, bank: FakeBank, order_body: Body, key: dict[str, str], serve: Serve
) -> None:
    process, body = await serve("checkout"), order_body()
    assert (await process.client.post("/api/orders", json=body, headers=key)).status_code == 201
    assert (await process.client.post("/api/orders", json=body | {"items": []}, headers=key)).status_code == 422
    bank.refuse_with = (grpc.StatusCode.UNAUTHENTICATED, "the token has expired")
    other = {"Idempotency-Key": str(uuid.uuid4())}
    assert (await process.client.post("/api/orders", json=body, headers=other)).status_code == 500
    await process.stop()
    assert b"the token has expired" in process.output
    assert body["credit_card"]["number"].encode() not in process.output
