"""An operator and what could not be delivered: seen, given again to the one step, given up; and a flood of it."""

from __future__ import annotations

import json
import uuid

import httpx
import pytest

from tests.flow.shopping import Cardholder, Shopper, order_body
from tests.running import RunningSystem
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.system]

FLOOD = 300


def poison(system: RunningSystem, subject: str) -> dict[str, str]:
    return {
        "ce-specversion": "1.0",
        "ce-id": str(uuid.uuid4()),
        "ce-source": "/codebank/bank",
        "ce-type": "codebank.payment.approved.v1",
        "ce-subject": subject,
        "ce-partitionkey": system.card()["token"],
        "content-type": "application/json",
    }


async def test_an_operator_sees_replays_and_discards_a_dead_letter(system: RunningSystem) -> None:
    sink = system.environment("bank")["K_SINK"]
    headers = poison(system, "operated")
    async with httpx.AsyncClient() as client:
        assert (await client.post(sink, headers=headers, content=b'{"wrong": true}')).status_code == 202
        assert (await client.get(f"{system.url}/api/dead-letters")).status_code == 401

    def listed() -> list[str]:
        lines = system.run("dead-letters", "list", "--step", "post").stdout.splitlines()
        return [line.split()[0] for line in lines[:-1]]

    async def found() -> str | None:
        for letter_id in listed():
            letter = json.loads(system.run("dead-letters", "show", letter_id).stdout)
            if letter["event"]["id"] == headers["ce-id"]:
                return letter_id
        return None

    letter_id = await until(found, "the letter is there")
    letter = json.loads(system.run("dead-letters", "show", letter_id).stdout)
    assert (letter["step"], letter["error_code"], letter["data"]) == ("post", "422", '{"wrong": true}')
    assert "the data is not a PaymentApproved" in letter["reason"]

    again = system.run("dead-letters", "replay", letter_id)
    assert again.returncode == 1, again.stdout + again.stderr
    assert again.stdout.startswith("0 replayed, 1 not taken")
    assert json.loads(system.run("dead-letters", "show", letter_id).stdout)["attempts"] == 2

    gone = system.run("dead-letters", "discard", letter_id, "--reason", "made by a test")
    assert gone.returncode == 0, gone.stderr
    assert letter_id not in listed()
    assert system.run("dead-letters", "replay", letter_id).returncode == 1
    assert "There is no such dead letter" in system.run("dead-letters", "show", str(uuid.uuid4())).stderr


async def test_a_flood_of_poison_is_kept_and_a_purchase_behind_it_gets_through(system: RunningSystem) -> None:
    sink = system.environment("bank")["K_SINK"]
    headers = poison(system, "flood")
    before = {source["name"]: source["delivered"] for source in system.status()["sources"]}
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as client:
        for _ in range(FLOOD):
            answer = await client.post(sink, headers=headers | {"ce-id": str(uuid.uuid4())}, content=b"{}")
            assert answer.status_code == 202
        product = (await Shopper(client).products())[0]
        order = await Shopper(client).order(order_body(system.card(), product["id"]))
        cardholder = Cardholder(client, system.card())
        await cardholder.sign_in()

        async def on_statement() -> bool:
            return any(entry["order_id"] == order.json()["id"] for entry in await cardholder.entries())

        await until(on_statement, "the purchase behind the flood is on the statement")

        def all_kept() -> bool:
            delivered = {source["name"]: source["delivered"] for source in system.status()["sources"]}
            return bool(delivered["dead-letter"] >= before["dead-letter"] + 2 * FLOOD)

        await until(all_kept, "each dead letter is kept")


async def test_a_source_delivers_again_what_it_is_asked_for(system: RunningSystem) -> None:
    assert (
        "there is no source nobody" in system.run("replay", "--source", "nobody", "--from-offset", "0").stderr.lower()
    )
    wrong = system.run("replay", "--source", "post", "--from-time", "yesterday")
    assert wrong.returncode == 1
    assert "time with its zone" in wrong.stderr
    done = system.run("replay", "--source", "post", "--from-time", "2020-01-01T00:00:00Z")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("post is given ")
