"""The bank's keys: read, used, replaced while payments flow."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import stat
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.bank import keys as command
from functions.bank.cards import number_of
from functions.bank.keys import (
    KeyFile,
    KeyFileError,
    Keyring,
    SecretKey,
    UnknownKey,
    new_document,
    rotate,
    rotated_document,
)
from functions.bank.payments import now_utc
from functions.domain.card import Brand, CardNumber, Expiry
from protos.codebank.bank.v1 import bank_pb2 as pb
from tests.functions.bank.desk import Desk, open_desk, pay_request, proof_message, together, write_keys
from tests.waiting import until

pytestmark = pytest.mark.anyio

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
KEYS = Keyring.read(json.dumps(new_document(NOW)))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """The command with these arguments."""
    monkeypatch.setattr(sys, "argv", ["keys", *arguments])
    command.main()


def test_a_new_file_can_be_read_and_has_one_key_of_each_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "new")
    ring = Keyring.read(capsys.readouterr().out)
    assert [len(kind) for kind in (ring.fingerprint, ring.cvv, ring.signing)] == [1, 1, 1]


def test_rotation_adds_a_key_that_is_known_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_keys(tmp_path / "keys.json", new_document(now_utc()))
    before = KeyFile(path).keyring
    run(monkeypatch, "rotate", str(path))
    after = KeyFile(path).keyring
    assert after.fingerprint[0] == before.fingerprint[0]
    assert len(after.fingerprint) == 2
    now = now_utc()
    assert after.fingerprint_key(now) == before.fingerprint[0]
    later = now + dt.timedelta(seconds=command.HEAD_START_SECONDS_DEFAULT + 1)
    assert after.fingerprint_key(later) == after.fingerprint[1]
    assert after.cvv_key(later) == after.cvv[1]
    assert after.signing_key(later) == after.signing[1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]


def test_the_public_keys_are_printed_without_their_private_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_keys(tmp_path / "keys.json", rotated_document(new_document(NOW), NOW))
    run(monkeypatch, "jwks", str(path))
    published = json.loads(capsys.readouterr().out)["keys"]
    assert [key["kid"] for key in published] == [key.id for key in KeyFile(path).keyring.signing]
    assert all(set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in published)


def document(**changes: Any) -> str:
    """A key file with changes."""
    return json.dumps(new_document(NOW) | changes)


SECRET = base64.b64encode(b"x" * 32).decode()
ENTRY = {"id": "a", "active_from": "2030-01-01T00:00:00Z", "secret": SECRET}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        document(cvv=[]),
        document(cvv=[ENTRY, ENTRY]),
        document(cvv=[ENTRY | {"secret": base64.b64encode(b"short").decode()}]),
        document(cvv=[ENTRY | {"secret": "not base64!"}]),
        document(cvv=[ENTRY | {"active_from": "2030-01-01T00:00:00"}]),
        document(cvv=[ENTRY | {"active_from": "yesterday"}]),
        document(signing=[ENTRY]),
        document(signing=[ENTRY | {"private_key": "nonsense"}]),
        document(fingerprint=None),
    ],
)
def test_a_file_that_is_not_right_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(KeyFileError) as error:
        Keyring.read(text)
    assert SECRET not in str(error.value)


def test_keys_do_not_show_themselves() -> None:
    assert KEYS.fingerprint[0].secret.hex() not in repr(KEYS)
    assert repr(KEYS.fingerprint[0].secret) not in repr(KEYS)
    assert "PRIVATE" not in repr(KEYS)


def test_a_missing_file_is_said_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFileError, match="nowhere"):
        KeyFile(tmp_path / "nowhere.json")
    with pytest.raises(SystemExit, match="nowhere"):
        run(monkeypatch, "jwks", str(tmp_path / "nowhere.json"))


def test_a_file_that_breaks_changes_nothing_and_one_that_is_mended_is_read(tmp_path: Path) -> None:
    path = write_keys(tmp_path / "keys.json", new_document(NOW))
    file = KeyFile(path)
    first = file.keyring
    path.write_text("{")
    file.refresh()
    assert file.keyring is first
    path.unlink()
    file.refresh()
    assert file.keyring is first
    write_keys(path, new_document(NOW))
    file.refresh()
    assert file.keyring.fingerprint != first.fingerprint
    second = file.keyring
    file.refresh()
    assert file.keyring is second


@given(st.sampled_from([Brand.VISA, Brand.MASTERCARD, Brand.AMEX, Brand.ELO]), st.integers(0, 10**9))
def test_a_cvv_has_its_digits_and_hangs_on_number_expiry_and_key(brand: Brand, middle: int) -> None:
    number = number_of(brand, middle)
    cvv = KEYS.cvv_of(number, Expiry(2031, 1), KEYS.cvv[0].id)
    assert len(cvv.reveal()) == (4 if brand is Brand.AMEX else 3)
    assert KEYS.cvv_of(number, Expiry(2031, 1), KEYS.cvv[0].id) == cvv


def test_cvvs_are_spread_and_differ_by_expiry() -> None:
    numbers = [number_of(Brand.VISA, index) for index in range(3000)]
    cvvs = [KEYS.cvv_of(number, Expiry(2031, 1), KEYS.cvv[0].id).reveal() for number in numbers]
    assert len(set(cvvs)) > 900
    others = [KEYS.cvv_of(number, Expiry(2031, 2), KEYS.cvv[0].id).reveal() for number in numbers]
    assert sum(one == other for one, other in zip(cvvs, others, strict=True)) < 30


def test_fingerprints_hang_on_the_key_and_are_no_plain_hash() -> None:
    number = CardNumber("4111111111111111")
    other = Keyring.read(json.dumps(new_document(NOW)))
    assert KEYS.fingerprints(number) != other.fingerprints(number)
    with pytest.raises(UnknownKey):
        KEYS.fingerprint_key_by_id("nothing")


def test_parts_of_a_digest_do_not_run_into_each_other() -> None:
    key = SecretKey("k", NOW, b"x" * 32)
    assert key.digest("ab", "c") != key.digest("a", "bc")


def holds(desk: Desk, count: int) -> bool:
    """Whether the bank knows so many fingerprint keys."""
    return len(desk.keyring.fingerprint) == count


def at_least(answers: list[pb.Transaction], count: int) -> bool:
    """Whether there are so many answers."""
    return len(answers) >= count


@pytest.fixture
async def rotating(bank_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A bank with a key file of its own."""
    desk = await open_desk(bank_url, write_keys(tmp_path / "keys.json", new_document(now_utc())))
    yield desk
    await desk.close()


async def test_keys_are_rotated_while_payments_flow(rotating: Desk) -> None:
    desk = rotating
    watching = asyncio.create_task(desk.keys.watch())
    cards = [await desk.issue(limit_minor=10**6) for _ in range(5)]
    request = pay_request(cards[0][0])
    first = await desk.merchant.call("Pay", request)
    answers: list[pb.Transaction] = []
    done = asyncio.Event()

    async def shop(proof: Any) -> None:
        while not done.is_set():
            answers.append(await desk.merchant.pay(proof, 1))

    shoppers = [asyncio.create_task(shop(proof)) for proof, _ in cards]
    for count in (2, 3):
        rotate(desk.keys_path, now_utc())
        await until(partial(holds, desk, count), "the bank reads its keys again")
        await until(partial(at_least, answers, len(answers) + 20), "payments flow")
    done.set()
    await asyncio.gather(*shoppers)
    watching.cancel()
    await together(watching)

    assert {answer.status for answer in answers} == {pb.TRANSACTION_STATUS_APPROVED}
    key_ids = {row["fingerprint_key_id"] for row in await desk.fetch("select fingerprint_key_id from cards")}
    assert key_ids == {desk.keyring.fingerprint[-1].id}, "cards are re-keyed when they are seen"
    assert await desk.merchant.call("Pay", request) == first, "an old digest is compared under its own key"
    request.store = "another"
    [reused] = await together(desk.merchant.call("Pay", request))
    assert reused.code().name == "ALREADY_EXISTS"

    session = await desk.anyone.call("SignIn", pb.SignInRequest(card=proof_message(cards[0][0])))
    assert jwt.get_unverified_header(session.token)["kid"] == desk.keyring.signing[-1].id
    _, new_card = await desk.issue()
    assert await desk.value("select cvv_key_id from cards where token = $1", new_card.token) == desk.keyring.cvv[-1].id
    await desk.assert_books()


async def test_a_key_file_that_lost_a_key_puts_off_what_needs_it(rotating: Desk) -> None:
    desk = rotating
    proof, _ = await desk.issue()
    request = pay_request(proof)
    await desk.merchant.call("Pay", request)
    content = json.loads(desk.keys_path.read_text())
    lost = new_document(now_utc())
    write_keys(desk.keys_path, content | {"cvv": lost["cvv"], "fingerprint": lost["fingerprint"]})
    desk.keys.refresh()
    answers = await together(desk.merchant.call("Pay", request), desk.merchant.pay(proof))
    assert answers[0].code().name == "UNAVAILABLE"
    assert answers[1].decline_code == pb.DECLINE_CODE_UNKNOWN_CARD
