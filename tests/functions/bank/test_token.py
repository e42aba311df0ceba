"""Tokens: who calls, told by a signature."""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from functions.bank import token as command
from functions.bank.keys import KeyFile, new_document, rotate
from functions.bank.payments import now_utc
from functions.bank.token import VERIFIED_MAX, Caller, Role, Verifier, caller_token, session_token
from functions.domain.error import Unauthenticated
from tests.functions.bank.desk import write_keys

SHOP = Caller(Role.MERCHANT, "shop")
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(write_keys(tmp_path / "keys.json", new_document(now_utc())))


def test_a_caller_is_told_by_its_token(keys: KeyFile) -> None:
    verifier = Verifier(keys)
    for caller in (SHOP, Caller(Role.OPERATOR, "olga")):
        token = caller_token(keys.keyring, caller, now_utc(), HOUR)
        assert verifier.caller(token, now_utc()) == caller
        assert verifier.caller(token, now_utc()) == caller


def test_a_token_that_is_remembered_expires_all_the_same(keys: KeyFile) -> None:
    verifier, now = Verifier(keys), now_utc()
    token = caller_token(keys.keyring, SHOP, now, HOUR)
    assert verifier.caller(token, now) == SHOP
    for late in (HOUR, 2 * HOUR):
        with pytest.raises(Unauthenticated, match="expired"):
            verifier.caller(token, now + late)
    with pytest.raises(Unauthenticated, match="expired"):
        Verifier(keys).caller(token, now + HOUR)


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, with changes; a claim that is None is left out."""
    good = {"iss": "codebank", "aud": "bank", "sub": "shop", "role": "merchant", "exp": now_utc() + HOUR}
    return {name: value for name, value in (good | changes).items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "statement"},
        {"iss": "another"},
        {"role": "admin"},
        {"role": None},
        {"sub": None},
        {"exp": None},
        {"aud": None},
        {"exp": "soon"},
    ],
)
def test_a_token_for_something_else_is_none_of_the_banks(keys: KeyFile, changes: dict[str, Any]) -> None:
    key = keys.keyring.signing[0]
    token = jwt.encode(claims(**changes), key.private, algorithm="ES256", headers={"kid": key.id})
    with pytest.raises(Unauthenticated):
        Verifier(keys).caller(token, now_utc())


def test_a_token_that_others_made_is_none_of_the_banks(keys: KeyFile, tmp_path: Path) -> None:
    key = keys.keyring.signing[0]
    foreign = KeyFile(write_keys(tmp_path / "foreign.json", new_document(now_utc()))).keyring.signing[0]
    public = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": key.id}).encode()).rstrip(b"=").decode()
    good = jwt.encode(claims(), key.private, algorithm="ES256", headers={"kid": key.id})
    for token in (
        "",
        "x",
        "a.b.c",
        "." * 5000,
        "é",
        good[:-4] + "AAAA",
        f"{header}.{good.split('.')[1]}.{public.hex()[:40]}",
        jwt.encode(claims(), foreign.private, algorithm="ES256", headers={"kid": key.id}),
        jwt.encode(claims(), foreign.private, algorithm="ES256", headers={"kid": foreign.id}),
        jwt.encode(claims(), key.private, algorithm="ES256"),
        jwt.encode(claims(), "", algorithm="none", headers={"kid": key.id}),
    ):
        with pytest.raises(Unauthenticated):
            Verifier(keys).caller(token, now_utc())


def test_a_cardholders_session_is_not_a_callers_token(keys: KeyFile) -> None:
    token, expires_at = session_token(keys.keyring, card_token="t", brand="visa", last4="1111", now=now_utc())
    assert expires_at <= now_utc() + dt.timedelta(minutes=15)
    with pytest.raises(Unauthenticated):
        Verifier(keys).caller(token, now_utc())


def test_tokens_outlive_a_rotation(keys: KeyFile, tmp_path: Path) -> None:
    verifier = Verifier(keys)
    old = caller_token(keys.keyring, SHOP, now_utc(), HOUR)
    verifier.caller(old, now_utc())
    rotate(tmp_path / "keys.json", now_utc())
    keys.refresh()
    new = caller_token(keys.keyring, SHOP, now_utc(), HOUR)
    assert {jwt.get_unverified_header(token)["kid"] for token in (old, new)} == {key.id for key in keys.keyring.signing}
    assert verifier.caller(old, now_utc()) == verifier.caller(new, now_utc()) == SHOP


def test_no_more_tokens_are_remembered_than_stated(keys: KeyFile) -> None:
    verifier = Verifier(keys)
    for index in range(VERIFIED_MAX + 5):
        verifier._verified[str(index)] = (SHOP, 0.0)
    verifier.caller(caller_token(keys.keyring, SHOP, now_utc(), HOUR), now_utc())
    assert len(verifier._verified) <= VERIFIED_MAX + 5


def test_the_command_prints_a_token(
    keys: KeyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BANK_KEYS_FILE", str(tmp_path / "keys.json"))
    monkeypatch.setattr(sys, "argv", ["token", "--role", "operator", "--subject", "olga"])
    command.main()
    assert Verifier(keys).caller(capsys.readouterr().out.strip(), now_utc()) == Caller(Role.OPERATOR, "olga")
    monkeypatch.setattr(sys, "argv", ["token", "--role", "operator", "--subject", "a\nb"])
    with pytest.raises(SystemExit):
        command.main()
    monkeypatch.delenv("BANK_KEYS_FILE")
    monkeypatch.setattr(sys, "argv", ["token", "--role", "operator", "--subject", "olga"])
    with pytest.raises(SystemExit, match="BANK_KEYS_FILE"):
        command.main()
