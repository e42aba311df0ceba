"""statement: who is signed in reads the entries of that card, and of no other."""

from __future__ import annotations

import asyncio
import base64
import csv
import datetime as dt
import hmac
import io
import json
import sys
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import event as sqlalchemy_event

from functions.domain.event import rfc3339
from functions.runtime.bank import Bank
from functions.runtime.cursor import cursor_of
from functions.runtime.database import Database
from functions.runtime.key_set import ASKED_SECONDS_MIN, KEPT_SECONDS_MAX, KeySet
from functions.statement.entries import Entries, Entry
from local.engines.engine import free_port
from tests.functions.events import event_of
from tests.functions.fake_bank import FakeBank, FakeCard, new_card_number
from tests.functions.statement.test_post import entry
from tests.functions.steps import Serve, deliver

pytestmark = pytest.mark.anyio

NOON = dt.datetime(2026, 3, 31, 12, tzinfo=dt.UTC)


async def fill(entries: Entries, card: FakeCard, count: int, **fields: Any) -> list[str]:
    """Posts so many entries, a day after each other; answers their ids, as the API shows them."""
    made = [
        entry(card.token, **({"payment_date": NOON + dt.timedelta(days=number)} | fields)) for number in range(count)
    ]
    for entry_ in made:
        await entries.post(Entry(**entry_.model_dump()))
    return [str(entry_.id) for entry_ in made]


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [entry_["id"] for entry_ in answer.json()["entries"]]


async def get(statement: httpx.AsyncClient, headers: dict[str, str], **parameters: Any) -> httpx.Response:
    return await statement.get("/api/statement", params=parameters, headers=headers)


async def test_a_cardholder_signs_in_reads_and_signs_out(
    statement: httpx.AsyncClient, entries: Entries, card: FakeCard
) -> None:
    posted = await fill(entries, card, 2)
    answer = await statement.post("/api/session", json=card.body())
    session = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert session["card"] == {"token": card.token, "brand": "visa", "last4": card.number[-4:]}
    assert dt.datetime.fromisoformat(session["expires_at"]) > dt.datetime.now(dt.UTC)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"codebank_session={session['token']}; ")
    assert {part.strip().lower() for part in cookie.split(";")} >= {"httponly", "samesite=strict", "path=/api"}
    assert "secure" not in cookie.lower()
    assert ids(await statement.get("/api/statement")) == posted
    gone = await statement.delete("/api/session")
    assert (gone.status_code, gone.content) == (204, b"")
    assert not statement.cookies
    assert (await statement.get("/api/statement")).status_code == 401


async def test_the_cookie_is_secure_where_the_public_address_is(statement: httpx.AsyncClient, card: FakeCard) -> None:
    https = {"X-Forwarded-Proto": "https"}
    assert "; Secure" in (await statement.post("/api/session", json=card.body(), headers=https)).headers["set-cookie"]
    assert "; Secure" in (await statement.delete("/api/session", headers=https)).headers["set-cookie"]


async def test_a_token_is_a_session_of_its_own_and_goes_before_the_cookie(
    statement: httpx.AsyncClient, entries: Entries, bank: FakeBank, card: FakeCard, bearer: dict[str, str]
) -> None:
    other = bank.issue()
    posted, of_other = await fill(entries, card, 1), await fill(entries, other, 1)
    await statement.post("/api/session", json=other.body())
    assert ids(await get(statement, {})) == of_other
    assert ids(await get(statement, bearer)) == posted
    assert (await get(statement, {"Authorization": "Bearer nonsense"})).status_code == 401
    assert (await get(statement, {"Authorization": "Basic eDp5"})).status_code == 401


async def test_an_entry_has_what_the_design_says(
    statement: httpx.AsyncClient, entries: Entries, card: FakeCard, bearer: dict[str, str]
) -> None:
    payment = entry(card.token, order_id="order-1", description="Chess set", payment_date=NOON)
    refund = entry(card.token, kind="refund", refund_of=payment.transaction_id, amount_minor=1)
    for entry_ in (payment, refund):
        await entries.post(Entry(**entry_.model_dump()))
    page = (await get(statement, bearer)).json()
    assert page["card"] == {"brand": "visa", "last4": card.number[-4:]}
    assert page["entries"][0] == {
        "id": str(payment.id),
        "kind": "payment",
        "transaction_id": payment.transaction_id,
        "order_id": "order-1",
        "refund_of": None,
        "amount_minor": 100,
        "currency": "BRL",
        "store": "Codeshop",
        "description": "Chess set",
        "payment_date": "2026-03-31T12:00:00.000000Z",
    }
    assert page["entries"][1]["refund_of"] == payment.transaction_id


async def test_pages_follow_each_other_and_then_what_is_new(
    statement: httpx.AsyncClient, entries: Entries, card: FakeCard, bearer: dict[str, str]
) -> None:
    posted = await fill(entries, card, 5)
    first = await get(statement, bearer, limit=2)
    second = await get(statement, bearer, limit=2, after=first.json()["next"])
    third = await get(statement, bearer, limit=2, after=second.json()["next"])
    assert [ids(first), ids(second), ids(third)] == [posted[:2], posted[2:4], posted[4:]]
    nothing = await get(statement, bearer, after=third.json()["next"])
    assert (ids(nothing), nothing.json()["next"]) == ([], third.json()["next"])
    added = await fill(entries, card, 1)
    assert ids(await get(statement, bearer, after=nothing.json()["next"])) == added


async def test_an_empty_statement_has_a_cursor_to_poll_with(
    statement: httpx.AsyncClient, entries: Entries, card: FakeCard, bearer: dict[str, str]
) -> None:
    empty = await get(statement, bearer)
    assert ids(empty) == []
    posted = await fill(entries, card, 1)
    assert ids(await get(statement, bearer, after=empty.json()["next"])) == posted


async def test_a_poll_with_nothing_new_reads_one_number_and_sends_no_body(
    statement: httpx.AsyncClient,
    entries: Entries,
    card: FakeCard,
    bearer: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await fill(entries, card, 3)
    end = (await get(statement, bearer)).json()["next"]
    first = await get(statement, bearer, after=end)
    queries: list[str] = []
    engine = sys.modules["statement"].entries()._database.engine.sync_engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda *arguments: queries.append(arguments[2]))
    poll = await get(statement, bearer | {"If-None-Match": first.headers["etag"]}, after=end)
    assert (poll.status_code, poll.content) == (304, b"")
    assert {name: poll.headers[name] for name in ("etag", "cache-control", "vary")} == {
        "etag": first.headers["etag"],
        "cache-control": "private, no-cache",
        "vary": "Accept, Authorization, Cookie",
    }
    assert len(queries) == 1
    assert "last_position" in queries[0]
    added = await fill(entries, card, 1)
    news = await get(statement, bearer | {"If-None-Match": first.headers["etag"]}, after=end)
    assert ids(news) == added
    assert news.headers["etag"] != first.headers["etag"]


async def test_a_validator_is_of_one_card_one_address_and_one_format(
    statement: httpx.AsyncClient, entries: Entries, bank: FakeBank, card: FakeCard, bearer: dict[str, str]
) -> None:
    other = bank.issue()
    for each in (card, other):
        await fill(entries, each, 1)
    etag = {"If-None-Match": (await get(statement, bearer)).headers["etag"]}
    of_other = {"Authorization": f"Bearer {bank.session_token(other)}"}
    assert (await get(statement, bearer | etag)).status_code == 304
    assert (await get(statement, of_other | etag)).status_code == 200
    assert (await get(statement, bearer | etag, limit=7)).status_code == 200
    assert (await get(statement, bearer | etag | {"Accept": "text/csv"})).status_code == 200


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"from": "2026-04-01"}, [1, 2, 3]),
        ({"to": "2026-04-01"}, [0, 1]),
        ({"from": "2026-04-01", "to": "2026-04-01"}, [1]),
        ({"from": "2026-03-31T12:00:00Z", "to": "2026-04-01T12:00:00Z"}, [0]),
        ({"from": "2026-03-31T09:00:00.000001-03:00"}, [1, 2, 3]),
        ({"from": "2026-05-01"}, []),
        ({"to": "9999-12-30"}, [0, 1, 2, 3]),
    ],
)
async def test_dates_bound_what_is_shown(
    statement: httpx.AsyncClient,
    entries: Entries,
    card: FakeCard,
    bearer: dict[str, str],
    bounds: dict[str, str],
    expected: list[int],
) -> None:
    posted = await fill(entries, card, 4)
    answer = await get(statement, bearer, **bounds)
    assert ids(answer) == [posted[number] for number in expected]
    assert ids(await get(statement, bearer, after=answer.json()["next"], **bounds)) == []


@pytest.mark.parametrize(
    ("parameters", "pointer", "code"),
    [
        ({"limit": "0"}, "#/query/limit", "out_of_range"),
        ({"limit": "1001"}, "#/query/limit", "out_of_range"),
        ({"limit": "ten"}, "#/query/limit", "wrong_type"),
        ({"limit": ""}, "#/query/limit", "wrong_type"),
        ({"after": "nonsense"}, "#/query/after", "invalid_cursor"),
        ({"after": "_" * 11}, "#/query/after", "invalid_cursor"),
        ({"after": cursor_of(99)}, "#/query/after", "unknown_cursor"),
        ({"from": "yesterday"}, "#/query/from", "invalid_date"),
        ({"from": "2026-02-30"}, "#/query/from", "invalid_date"),
        ({"from": "2026-02-03T10:00:00"}, "#/query/from", "invalid_date"),
        ({"from": "٢٠٢٦-٠١-٠١"}, "#/query/from", "invalid_date"),
        ({"to": "9999-12-31"}, "#/query/to", "invalid_date"),
        ({"to": "0001-01-01T00:00:00+12:00"}, "#/query/to", "invalid_date"),
        ({"from": "2026-02-02", "to": "2026-02-01T00:00:00Z"}, "#/query/to", "out_of_range"),
        ({"card": "another"}, "#/query/card", "unknown_field"),
        ({"after": [cursor_of(0), cursor_of(1)]}, "#/query/after", "repeated"),
    ],
)
async def test_a_wrong_parameter_is_pointed_at(
    statement: httpx.AsyncClient,
    bearer: dict[str, str],
    parameters: dict[str, str | list[str]],
    pointer: str,
    code: str,
) -> None:
    answer = await get(statement, bearer, **parameters)
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/csv;q=0.9, application/json;q=0.8", "text/csv; charset=utf-8"),
        ("application/json, text/csv;q=0.5", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=nonsense", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
    ],
)
async def test_the_format_is_what_is_asked_for(
    statement: httpx.AsyncClient, bearer: dict[str, str], accept: str, media_type: str
) -> None:
    answer = await get(statement, bearer | {"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)


async def test_csv_can_be_read_back_and_runs_no_formulas(
    statement: httpx.AsyncClient, entries: Entries, card: FakeCard, bearer: dict[str, str]
) -> None:
    texts = ['=cmd|" /C calc"!A0', "+1", "-1", "@SUM(A1)", "plain, with a comma", 'a "quote"', "two\r\nlines", "ção"]
    for number, text in enumerate(texts):
        await entries.post(entry(card.token, description=text, payment_date=NOON + dt.timedelta(days=number)))
    answer = await get(statement, bearer | {"Accept": "text/csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="statement.csv"'
    assert "link" not in answer.headers
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert answer.text.endswith("\r\n")
    assert [row["description"] for row in rows] == [f"'{text}" for text in texts[:4]] + texts[4:]
    assert rows[0]["amount_minor"] == "100"
    assert rows[0]["payment_date"] == rfc3339(NOON)
    assert rows[0]["order_id"] == ""


async def test_a_longer_csv_links_to_what_follows(
    statement: httpx.AsyncClient, entries: Entries, card: FakeCard, bearer: dict[str, str]
) -> None:
    posted = await fill(entries, card, 3)
    as_csv = bearer | {"Accept": "text/csv"}
    first = await get(statement, as_csv, limit=2, **{"from": "2026-01-01"})
    following = first.links["next"]["url"]
    assert following.startswith("/api/statement?")
    second = await statement.get(following, headers=as_csv)
    assert "link" not in second.headers
    assert [row["id"] for page in (first, second) for row in csv.DictReader(io.StringIO(page.text))] == posted


async def test_no_request_reads_another_cards_entries(
    statement: httpx.AsyncClient, entries: Entries, bank: FakeBank, card: FakeCard, bearer: dict[str, str]
) -> None:
    victim = bank.issue()
    await fill(entries, victim, 5)
    own = await fill(entries, card, 1)
    end_of_victim = cursor_of(4)
    for parameters in ({}, {"after": cursor_of(0)}, {"limit": 1000}, {"from": "2000-01-01"}):
        assert ids(await get(statement, bearer, **parameters)) == own
    for parameters in ({"card": victim.token}, {"card_token": victim.token}, {"sub": victim.token}):
        assert (await get(statement, bearer, **parameters)).status_code == 422
    assert (await get(statement, bearer, after=end_of_victim)).status_code == 422
    for name in ("X-Card-Token", "X-Forwarded-User", "X-Jwt-Payload"):
        assert ids(await get(statement, bearer | {name: victim.token})) == own
    token = bearer["Authorization"].removeprefix("Bearer ")
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"sub": victim.token}).encode()).decode().rstrip("=")
    assert (await get(statement, {"Authorization": f"Bearer {header}.{forged}.{signature}"})).status_code == 401


def _tricks(bank: FakeBank, card: FakeCard) -> dict[str, str]:
    """Tokens that are not what they seem, by what is wrong with them."""
    key_id, real = next(iter(bank.signing_keys.items()))
    public = real.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    now = dt.datetime.now(dt.UTC)
    claims = {"iss": "codebank", "aud": "statement", "sub": card.token, "brand": "visa", "last4": "0000"}
    claims_of_time = claims | {"iat": now.timestamp(), "exp": (now + dt.timedelta(minutes=5)).timestamp()}
    signed_by_hmac = _hmac_token({"alg": "HS256", "kid": key_id, "typ": "JWT"}, claims_of_time, public)
    return {
        "no algorithm": bank.session_token(card, algorithm="none", key=""),
        "a public key as a shared secret": signed_by_hmac,
        "another key under a known id": bank.session_token(card, key=ec.generate_private_key(ec.SECP256R1())),
        "another curve": bank.session_token(card, algorithm="ES384", key=ec.generate_private_key(ec.SECP384R1())),
        "another algorithm": bank.session_token(card, algorithm="RS256", key=rsa.generate_private_key(65537, 2048)),
        "an unknown key": bank.session_token(card, key_id="unknown", key=real),
        "no key id": jwt.encode(claims_of_time, real, algorithm="ES256"),
        "another audience": bank.session_token(card, aud="bank"),
        "no audience": bank.session_token(card, aud=None),
        "another issuer": bank.session_token(card, iss="elsewhere"),
        "expired": bank.session_token(card, exp=now - dt.timedelta(minutes=1)),
        "no expiry": bank.session_token(card, exp=None),
        "not begun": bank.session_token(card, iat=now + dt.timedelta(hours=1)),
        "no subject": bank.session_token(card, sub=None),
        "a subject that is a number": bank.session_token(card, sub=1),
        "a merchant's": bank.session_token(card, aud="bank", role="merchant"),
        "cut off": bank.session_token(card)[:-4],
        "not a token": "a.b.c",
        "not text": "\xff" * 20,
        "far too long": "x" * 5000,
        "empty": "",
    }


def _hmac_token(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    """What a forger makes by hand: PyJWT itself refuses to use a public key as a secret."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = base64.urlsafe_b64encode(hmac.digest(key, b".".join(parts), "sha256")).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


async def test_a_token_that_the_bank_did_not_make_is_refused(
    statement: httpx.AsyncClient, entries: Entries, bank: FakeBank, card: FakeCard, bearer: dict[str, str]
) -> None:
    await fill(entries, card, 1)
    for trick, token in _tricks(bank, card).items():
        answer = await get(statement, {"Authorization": b"Bearer " + token.encode("latin-1")})  # type: ignore[dict-item]
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), trick
    for trick, token in _tricks(bank, card).items():
        answer = await get(statement, {"Cookie": b"codebank_session=" + token.encode("latin-1")})  # type: ignore[dict-item]
        assert answer.status_code == 401, trick
    assert (await get(statement, bearer)).status_code == 200
    assert (await get(statement, {})).status_code == 401


async def test_a_new_key_of_the_bank_is_learnt_and_strangers_cannot_make_it_be_asked_for_again_and_again(
    bank: FakeBank,
) -> None:
    now = 1000.0
    channel = Bank(bank.address)
    keys = KeySet(channel, clock=lambda: now)
    first = next(iter(bank.signing_keys))
    assert await keys.key(first) is not None
    assert await asyncio.gather(*(keys.key(f"made up {number}") for number in range(50))) == [None] * 50
    assert bank.key_set_calls == 1
    second = bank.rotate()
    now += ASKED_SECONDS_MIN
    assert await keys.key(second) is not None
    assert await keys.key(first) is not None
    assert bank.key_set_calls == 2
    del bank.signing_keys[first]
    now += KEPT_SECONDS_MAX
    assert await keys.key(first) is None
    assert bank.key_set_calls == 3
    await channel.close()


async def test_sessions_go_on_while_the_bank_is_away_and_signing_in_waits(
    statement: httpx.AsyncClient, entries: Entries, bank: FakeBank, card: FakeCard, bearer: dict[str, str]
) -> None:
    posted = await fill(entries, card, 1)
    assert ids(await get(statement, bearer)) == posted
    await bank.stop()
    assert ids(await get(statement, bearer)) == posted
    refused = await statement.post("/api/session", json=card.body())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_a_statement_that_never_heard_of_the_bank_cannot_tell_and_says_so(
    statement: httpx.AsyncClient, bank: FakeBank, bearer: dict[str, str]
) -> None:
    await bank.stop()
    assert (await get(statement, bearer)).status_code == 503


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"cvv": "999"}, 401, None),
        ({"number": new_card_number()}, 401, None),
        ({"number": "4" * 16}, 422, "#/number"),
        ({"number": "12"}, 422, "#/number"),
        ({"number": 4111}, 422, "#/number"),
        ({"cvv": "9"}, 422, "#/cvv"),
        ({"expiration_month": 13}, 422, "#/expiration_month"),
        ({"expiration_month": "12"}, 422, "#/expiration_month"),
        ({"expiration_year": 31}, 422, "#/expiration_year"),
        ({"remember": True}, 422, "#/remember"),
    ],
)
async def test_a_wrong_proof_is_refused(
    statement: httpx.AsyncClient, card: FakeCard, changes: dict[str, Any], status: int, pointer: str | None
) -> None:
    answer = await statement.post("/api/session", json=card.body(**changes))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "set-cookie" not in answer.headers
    assert [error["pointer"] for error in answer.json().get("errors", [])] == ([pointer] if pointer else [])
    assert card.number not in answer.text


async def test_too_many_wrong_proofs_are_told_when_to_try_again(
    statement: httpx.AsyncClient, bank: FakeBank, card: FakeCard
) -> None:
    bank.locked_seconds = 120
    answer = await statement.post("/api/session", json=card.body())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "120")


async def test_a_grouped_number_signs_in(statement: httpx.AsyncClient, card: FakeCard) -> None:
    grouped = " ".join(card.number[start : start + 4] for start in range(0, 16, 4))
    assert (await statement.post("/api/session", json=card.body(number=grouped))).status_code == 201


async def test_without_its_database_the_statement_says_when_to_try_again(
    statement: httpx.AsyncClient, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATEMENT_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    answer = await get(statement, bearer)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_both_steps_are_served_as_processes_of_their_own(
    database: Database, bank: FakeBank, card: FakeCard, serve: Serve
) -> None:
    posting, reading = await serve("post"), await serve("statement")
    event = event_of(card_token=card.token)
    assert (await deliver(posting.client, event)).status_code == 200
    assert (await reading.client.post("/api/session", json=card.body())).status_code == 201
    (shown,) = (await reading.client.get("/api/statement")).json()["entries"]
    assert shown["transaction_id"] == event.transaction().transaction_id
