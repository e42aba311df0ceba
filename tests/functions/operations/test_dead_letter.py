"""Dead letters: kept with their reason, shown to operators alone, and given again to the one step that failed."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from functions.operations.letters import letter_of, step_of
from functions.runtime.database import Database
from tests.functions.fake_bank import FakeBank
from tests.functions.operations.conftest import Taker
from tests.functions.schema import differences

pytestmark = pytest.mark.anyio

DATA = b'{"not": "what was promised", "n": 1.0}'


def headers_of(step: str, event_id: str, **attributes: str) -> dict[str, str]:
    """A dead letter as a KafkaSource sends it."""
    found = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/codebank/bank",
        "type": "codebank.payment.approved.v1",
        "subject": "caf%C3%A9",
        "partitionkey": "card",
        "knativeerrordest": f"http://{step}.codebank.svc.cluster.local",
        "knativeerrorcode": "422",
        "knativeerrordata": "the%20reason",
    } | attributes
    return {f"ce-{name}": value for name, value in found.items()} | {"content-type": "application/json"}


async def fail(client: httpx.AsyncClient, step: str, event_id: str | None = None, **attributes: str) -> str:
    """Lets an event of this step arrive; answers its id."""
    event_id = event_id or str(uuid.uuid4())
    answer = await client.post("/", headers=headers_of(step, event_id, **attributes), content=DATA)
    assert answer.status_code == 204, answer.text
    return event_id


async def letters(client: httpx.AsyncClient, operator: dict[str, str], step: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/api/dead-letters", params={"step": step, **query}, headers=operator)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_dead_letter_is_shown_with_its_reason_and_its_event_byte_for_byte(
    dead_letter: httpx.AsyncClient, operator: dict[str, str], step_name: str
) -> None:
    event_id = await fail(dead_letter, step_name)
    letter = (await letters(dead_letter, operator, step_name))[0]
    assert letter["event"] == {
        "id": event_id,
        "source": "/codebank/bank",
        "type": "codebank.payment.approved.v1",
        "subject": "café",
    }
    assert (letter["step"], letter["state"], letter["attempts"]) == (step_name, "open", 1)
    assert (letter["error_code"], letter["reason"]) == ("422", "the reason")
    assert letter["first_at"]
    assert letter["last_at"]
    shown = (await dead_letter.get(f"/api/dead-letters/{letter['id']}", headers=operator)).json()
    assert shown["data"].encode() == DATA
    assert shown["headers"]["ce-partitionkey"] == "card"
    assert "ce-knativeerrorcode" not in shown["headers"]


async def test_the_same_event_of_the_same_step_is_one_letter_however_often_it_comes(
    dead_letter: httpx.AsyncClient, operator: dict[str, str], step_name: str
) -> None:
    event_id = await fail(dead_letter, step_name)
    await asyncio.gather(*(fail(dead_letter, step_name, event_id, knativeerrordata="again") for _ in range(5)))
    await fail(dead_letter, f"{step_name}-other", event_id)
    found = await letters(dead_letter, operator, step_name)
    assert [(letter["attempts"], letter["reason"]) for letter in found] == [(6, "again")]
    assert found[0]["first_at"] < found[0]["last_at"]


async def test_a_replay_goes_to_the_step_that_failed_as_the_event_was_sent(
    dead_letter: httpx.AsyncClient, operator: dict[str, str], step_name: str, taker: Taker
) -> None:
    event_id = await fail(dead_letter, step_name)
    letter_id = (await letters(dead_letter, operator, step_name))[0]["id"]
    answer = await dead_letter.post(f"/api/dead-letters/{letter_id}/replay", headers=operator)
    assert (answer.status_code, answer.json()["state"], answer.json()["closed_by"]) == (200, "replayed", "ana")
    ((headers, body),) = taker.given
    assert body == DATA
    assert (headers["ce-id"], headers["ce-subject"]) == (event_id, "caf%C3%A9")
    assert not any(name.startswith("ce-knativeerror") for name in headers)
    assert await letters(dead_letter, operator, step_name, state="open") == []


async def test_a_replay_that_fails_again_leaves_the_letter_open_with_the_new_reason(
    dead_letter: httpx.AsyncClient, operator: dict[str, str], step_name: str, taker: Taker
) -> None:
    await fail(dead_letter, step_name)
    letter_id = (await letters(dead_letter, operator, step_name))[0]["id"]
    taker.status = 503
    answer = (await dead_letter.post(f"/api/dead-letters/{letter_id}/replay", headers=operator)).json()
    assert (answer["state"], answer["error_code"], answer["reason"]) == ("open", "503", "still no")
    assert answer["attempts"] == 2


async def test_a_selection_is_replayed_oldest_first_and_says_what_was_not_taken(
    dead_letter: httpx.AsyncClient, operator: dict[str, str], step_name: str, taker: Taker
) -> None:
    sent = [await fail(dead_letter, step_name) for _ in range(5)]
    answer = await dead_letter.post("/api/dead-letters/replay", json={"step": step_name}, headers=operator)
    assert answer.json() == {"replayed": 5, "failed": []}
    assert [headers["ce-id"] for headers, _ in taker.given] == sent
    await fail(dead_letter, "gone")
    away = (await letters(dead_letter, operator, "gone", state="open"))[0]["id"]
    answer = await dead_letter.post("/api/dead-letters/replay", json={"ids": [away]}, headers=operator)
    assert answer.json()["replayed"] == 0
    assert answer.json()["failed"][0]["id"] == away
    assert "gone did not answer" in answer.json()["failed"][0]["detail"]


async def test_what_was_replayed_and_fails_again_is_open_again_and_what_was_discarded_stays_so(
    dead_letter: httpx.AsyncClient, operator: dict[str, str], step_name: str
) -> None:
    event_id = await fail(dead_letter, step_name)
    letter_id = (await letters(dead_letter, operator, step_name))[0]["id"]
    await dead_letter.post(f"/api/dead-letters/{letter_id}/replay", headers=operator)
    await fail(dead_letter, step_name, event_id)
    letter = (await letters(dead_letter, operator, step_name, state="open"))[0]
    assert (letter["closed_at"], letter["closed_by"]) == (None, None)
    answer = await dead_letter.post(
        f"/api/dead-letters/{letter_id}/discard", json={"reason": "a test event"}, headers=operator
    )
    assert (answer.json()["state"], answer.json()["discard_reason"]) == ("discarded", "a test event")
    await fail(dead_letter, step_name, event_id)
    assert await letters(dead_letter, operator, step_name, state="open") == []
    again = await dead_letter.post(f"/api/dead-letters/{letter_id}/replay", headers=operator)
    assert (again.status_code, again.json()["detail"]) == (409, "The dead letter was discarded.")


async def test_a_letter_of_no_known_step_is_kept_and_cannot_be_replayed(
    dead_letter: httpx.AsyncClient, operator: dict[str, str], step_name: str
) -> None:
    stranger = f"{step_name}-unknown"
    await fail(dead_letter, stranger)
    letter_id = (await letters(dead_letter, operator, stranger))[0]["id"]
    answer = await dead_letter.post(f"/api/dead-letters/{letter_id}/replay", headers=operator)
    assert answer.status_code == 409
    assert stranger in answer.json()["detail"]


async def test_letters_come_in_pages(dead_letter: httpx.AsyncClient, operator: dict[str, str], step_name: str) -> None:
    sent = [await fail(dead_letter, step_name) for _ in range(5)]
    found, after = [], None
    while True:
        query: dict[str, Any] = {"step": step_name, "limit": 2} | ({"after": after} if after else {})
        page = (await dead_letter.get("/api/dead-letters", params=query, headers=operator)).json()
        found += [letter["event"]["id"] for letter in page["items"]]
        if (after := page["next"]) is None:
            break
    assert found == sent


PATHS = [
    ("GET", "/api/dead-letters"),
    ("GET", f"/api/dead-letters/{uuid.uuid4()}"),
    ("POST", f"/api/dead-letters/{uuid.uuid4()}/replay"),
    ("POST", f"/api/dead-letters/{uuid.uuid4()}/discard"),
    ("POST", "/api/dead-letters/replay"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_only_operators_are_answered(
    dead_letter: httpx.AsyncClient, bank: FakeBank, method: str, path: str
) -> None:
    assert (await dead_letter.request(method, path)).status_code == 401
    card = bank.issue()
    tokens = {
        bank.session_token(card): 401,
        bank.session_token(card, aud="bank"): 401,
        bank.session_token(card, aud="bank", role="merchant"): 403,
        bank.session_token(card, aud="bank", role="operator", exp=1): 401,
        "nonsense": 401,
    }
    for token, status in tokens.items():
        answer = await dead_letter.request(method, path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, token


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/dead-letters/replay", {}, 422),
        ("/api/dead-letters/replay", {"ids": [], "step": None}, 422),
        ("/api/dead-letters/replay", {"ids": [str(uuid.uuid4())]}, 404),
        (f"/api/dead-letters/{uuid.uuid4()}/replay", {}, 404),
        (f"/api/dead-letters/{uuid.uuid4()}/discard", {"reason": "  x "}, 422),
        ("/api/dead-letters/not-an-id/replay", {}, 404),
    ],
)
async def test_what_makes_no_sense_is_refused(
    dead_letter: httpx.AsyncClient, operator: dict[str, str], path: str, body: dict[str, Any], status: int
) -> None:
    assert (await dead_letter.post(path, json=body, headers=operator)).status_code == status


@pytest.mark.parametrize(
    "attributes",
    [
        {"knativeerrordest": ""},
        {"knativeerrordest": "http://[broken"},
        {"knativeerrordata": "%00%ff"},
        {"subject": "%00"},
        {"source": "x" * 3000},
        {"type": ""},
    ],
)
async def test_nothing_that_arrives_is_refused(
    dead_letter: httpx.AsyncClient, step_name: str, attributes: dict[str, str]
) -> None:
    """What is refused here would come back as a dead letter without end."""
    await fail(dead_letter, step_name, **attributes)
    answer = await dead_letter.post("/", content=b"\x00\xff no event at all")
    assert answer.status_code == 204


async def test_while_the_database_is_away_the_source_is_told_to_come_back(
    dead_letter: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, step_name: str
) -> None:
    monkeypatch.setenv("OPERATIONS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    answer = await dead_letter.post("/", headers=headers_of(step_name, "1"), content=DATA)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    ("destination", "step"),
    [
        ("http://post.codebank.svc.cluster.local", "post"),
        ("http://post.codebank.svc.cluster.local:80/path", "post"),
        ("settle", "settle"),
        ("", ""),
    ],
)
def test_the_step_is_known_by_its_url_or_its_name(destination: str, step: str) -> None:
    assert step_of(destination) == step


def test_a_letters_id_derives_from_step_and_event() -> None:
    first = letter_of(headers_of("post", "1"), DATA)
    assert letter_of(headers_of("post", "1", knativeerrordata="other"), b"").id == first.id
    assert letter_of(headers_of("settle", "1"), DATA).id != first.id


async def test_the_models_say_what_the_migrations_make(database: Database) -> None:
    assert await differences(database, {"dead_letters"}) == []
