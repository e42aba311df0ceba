"""Promise 8: known numbers and CVVs go the whole way, then everything that was written is searched for them."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.engines import postgresql
from tests.flow.shopping import Cardholder, Shopper, order_body, proof
from tests.running import RunningSystem
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.system]


def disguises(number: str) -> Iterator[bytes]:
    """The number as it is, grouped, hexadecimal and base64 at each of its three alignments."""
    groups = [number[start : start + 4] for start in range(0, len(number), 4)]
    yield from (text.encode() for text in (number, " ".join(groups), "-".join(groups), number.encode().hex()))
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + number.encode())
        # The first and last characters of the encoding also depend on what stands around the number.
        yield encoded[4 if shift else 0 : -4]


CVV_NEARBY = re.compile(rb"(?i)(?:cvv|cvc|csc|verification)[^0-9]{0,12}([0-9]{3,4})(?![0-9])")


def findings(content: bytes, cards: list[dict[str, Any]]) -> list[str]:
    """What of the cards is in the content; the answer names cards by their last four digits."""
    cvvs = {match[1] for match in CVV_NEARBY.finditer(content)}
    found = [f"CVV of …{card['number'][-4:]}" for card in cards if card["cvv"].encode() in cvvs]
    for card in cards:
        found += [f"number …{card['number'][-4:]}" for disguise in disguises(card["number"]) if disguise in content]
    return found


def test_the_search_finds_what_it_should() -> None:
    card = {"number": "4000123412341234", "cvv": "987"}
    leaks = [
        b"number=4000123412341234",
        b"4000 1234 1234 1234",
        b"4000-1234-1234-1234",
        b"34303030313233343132333431323334",
        b'"cvv": "987"',
        b"cvc=987&",
    ]
    leaks += [base64.b64encode(b"y" * shift + b"4000123412341234" + b"zz") for shift in range(5)]
    for leak in leaks:
        assert findings(b"before " + leak + b" after", [card]), leak
    assert findings(b"4000123412341235 cvv 9876 987", [card]) == []


async def test_no_number_and_no_cvv_is_in_anything_that_was_written(system: RunningSystem) -> None:
    cards = system.cards()
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as client:
        product = (await Shopper(client).products())[0]
        answers = [await Shopper(client).order(order_body(card, product["id"])) for card in cards]
        # What goes wrong is logged more readily than what goes well.
        bad = order_body(cards[0], product["id"])
        bad["credit_card"]["expiration_month"] = 13
        answers.append(await Shopper(client).order(bad))
        answers.append(await Shopper(client).order(order_body(cards[0], "no-such-product")))
        answers.append(await client.post("/api/orders", content=str(bad), headers={"Content-Type": "application/json"}))
        answers.append(await client.post("/api/session", json=proof(cards[0]) | {"surprise": cards[0]["number"]}))
        answers.append(await client.get(f"/api/statement?after={cards[0]['number']}"))
        cardholder = Cardholder(client, cards[0])
        await cardholder.sign_in()
        order_id = answers[0].json()["id"]

        async def on_statement() -> bool:
            return any(entry["order_id"] == order_id for entry in await cardholder.entries())

        await until(on_statement, "the purchase is on the statement")
    for answer in answers:
        assert findings(answer.content, cards) == [], answer.request.url.path

    written = {str(path): path.read_bytes() for path in system.folder.path.rglob("*") if path.is_file()}
    written["log"] = system.log.read_bytes()
    for owner in ("log", "bank", "store", "statement"):
        url = (system.folder.secrets / f"{owner}-database" / "url").read_text()
        written[f"database {owner}"] = dump(url)
    assert len(written) > 100
    assert {name: found for name, content in written.items() if (found := findings(content, cards))} == {}


def dump(url: str) -> bytes:
    """Every row of a database, as SQL."""
    return subprocess.run([postgresql.binaries() / "pg_dump", "--inserts", url], capture_output=True, check=True).stdout
