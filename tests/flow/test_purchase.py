"""A purchase goes the whole way, through processes, the log and back to the cardholder."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from local.log.embedded import EmbeddedLog
from tests.flow.shopping import Cardholder, Shopper, order_body
from tests.running import RunningSystem
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture
async def client(system: RunningSystem) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as client:
        yield client


async def test_an_approved_purchase_reaches_the_order_the_topic_and_the_statement(
    system: RunningSystem, client: httpx.AsyncClient
) -> None:
    card = system.card()
    product = (await Shopper(client).products())[0]
    answer = await Shopper(client).order(order_body(card, product["id"], quantity=2))
    assert answer.status_code == 201, answer.text
    order = answer.json()
    assert order["status"] == "approved"
    assert order["total_minor"] == 2 * product["price_minor"]
    assert order["card"]["last4"] == card["number"][-4:]
    assert (await client.get(answer.headers["location"])).json() == order

    cardholder = Cardholder(client, card)
    await cardholder.sign_in()

    async def on_statement() -> list[dict[str, object]]:
        return [entry for entry in await cardholder.entries() if entry["order_id"] == order["id"]]

    (entry,) = await until(on_statement, "the purchase is on the statement")
    assert entry["transaction_id"] == order["transaction_id"]
    assert (entry["kind"], entry["amount_minor"]) == ("payment", order["total_minor"])

    url = system.environment("bank")["BANK_DATABASE_URL"].rsplit("/", 1)[0]
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidCatalogNameError)):
        await asyncpg.connect(f"{url}/statement")


async def test_the_same_key_buys_once_however_often_it_is_sent(
    system: RunningSystem, client: httpx.AsyncClient
) -> None:
    shopper, card, key = Shopper(client), system.card(), str(uuid.uuid4())
    product = (await shopper.products())[1]
    body = order_body(card, product["id"])
    answers = await asyncio.gather(*(shopper.order(body, key) for _ in range(5)))
    answers.append(await shopper.order(body, key))
    assert {answer.json()["id"] for answer in answers} == {answers[-1].json()["id"]}
    assert answers[-1].status_code == 201
    other = await shopper.order(order_body(card, product["id"], quantity=2), key)
    assert other.status_code == 409

    cardholder = Cardholder(client, card)
    await cardholder.sign_in()

    async def entries() -> list[dict[str, object]]:
        return [e for e in await cardholder.entries() if e["order_id"] == answers[-1].json()["id"]]

    await until(entries, "the purchase is on the statement")
    assert len(await entries()) == 1


async def test_a_wrong_cvv_is_declined_and_charges_nothing(system: RunningSystem, client: httpx.AsyncClient) -> None:
    card = system.card()
    wrong = card | {"cvv": f"{(int(card['cvv']) + 1) % 10 ** len(card['cvv']):0{len(card['cvv'])}}"}
    product = (await Shopper(client).products())[0]
    answer = await Shopper(client).order(order_body(wrong, product["id"]))
    assert answer.status_code == 402
    assert answer.json()["decline_code"] == "incorrect_cvc"
    # The right one afterwards clears the count, so that the next test is not locked out.
    assert (await Shopper(client).order(order_body(card, product["id"]))).status_code == 201


async def test_a_poison_event_becomes_a_dead_letter_and_the_next_event_is_handled(
    system: RunningSystem, client: httpx.AsyncClient
) -> None:
    sink = system.environment("bank")["K_SINK"]
    poison = {
        "ce-specversion": "1.0",
        "ce-id": str(uuid.uuid4()),
        "ce-source": "/codebank/bank",
        "ce-type": "codebank.payment.approved.v1",
        "ce-partitionkey": system.card()["token"],
        "content-type": "application/json",
    }
    before = {source["name"]: source["dead_letters"] for source in system.status()["sources"]}
    for body in (b"{not json", b"[]", b'{"transaction_id": 1}', b"\xff\xfe"):
        answer = await client.post(sink, headers=poison | {"ce-id": str(uuid.uuid4())}, content=body)
        assert answer.status_code == 202
    unknown = poison | {"ce-type": "codebank.payment.invented.v1"}
    assert (await client.post(sink, headers=unknown, content=b"{}")).status_code == 202
    assert (await client.post(sink, content=b"{}")).status_code == 400

    def five_more() -> bool:
        sources = system.status()["sources"]
        own = [source for source in sources if source["name"] in {"post", "settle"}]
        return all(source["dead_letters"] == before[source["name"]] + 5 for source in own)

    await until(five_more, "each source has put the five events to its dead letters")
    async with EmbeddedLog.open((system.folder.secrets / "log-database" / "url").read_text()) as log:
        subscription = await log.subscribe(f"test-{uuid.uuid4()}", "transactions.dead-letter", "earliest")
        headers = dict((await subscription.poll(frozenset()))[-1].record.headers)
    assert headers["ce_knativeerrorcode"] in {b"422", b"400"}
    assert headers["ce_knativeerrordest"] in {b"post", b"settle"}

    product = (await Shopper(client).products())[0]
    answer = await Shopper(client).order(order_body(system.card(), product["id"]))
    cardholder = Cardholder(client, system.card())
    await cardholder.sign_in()

    async def on_statement() -> bool:
        return any(entry["order_id"] == answer.json()["id"] for entry in await cardholder.entries())

    await until(on_statement, "an event behind the poison on the same partition is on the statement")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/nothing-here", 404),
        ("DELETE", "/api/products", 405),
        ("PUT", "/api/orders", 405),
        ("GET", "/api/orders/not-an-order", 404),
        ("GET", "/api/statement", 401),
    ],
)
async def test_bad_requests_are_answered_plainly(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json", 422),
        (b"[" * 100_000, "application/json", 400),
        (b" " * 1_048_577, "application/json", 413),
    ],
)
async def test_a_malformed_order_is_a_problem(
    client: httpx.AsyncClient, content: bytes, content_type: str, status: int
) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": content_type}
    answer = await client.post("/api/orders", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
