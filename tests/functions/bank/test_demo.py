"""The demo cards and the command that issues a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from functions.bank.demo import CARDS, listed, proofs, seed
from functions.bank.keys import KeyFile, new_document, rotate
from functions.bank.payments import now_utc
from functions.domain.card import Brand
from functions.domain.payment import DeclineCode
from protos.codebank.bank.v1 import bank_pb2 as pb
from tests.functions.bank.desk import Desk, open_desk, write_keys

pytestmark = pytest.mark.anyio

FIELDS = ["number", "name", "expiration_month", "expiration_year", "cvv", "token", "limit_minor"]


@pytest.fixture
async def demo(bank_url: str, keys_path: Path) -> AsyncIterator[Desk]:
    """A bank with its demo cards."""
    desk = await open_desk(bank_url, keys_path, demo=True)
    yield desk
    await desk.close()


async def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of the bank, as a person runs it."""
    return await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, "-m", *arguments],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    )


def test_the_list_has_the_fields_that_pages_and_scripts_read(keys_path: Path) -> None:
    cards = [json.loads(line) for line in listed(KeyFile(keys_path).keyring)]
    assert all(list(card)[: len(FIELDS)] == FIELDS for card in cards)
    assert cards[0]["decline_code"] is None
    assert cards[0]["limit_minor"] == max(card["limit_minor"] for card in cards)
    assert {card["brand"] for card in cards} >= {Brand.VISA, Brand.MASTERCARD, Brand.AMEX, Brand.ELO}
    assert len({card["number"] for card in cards}) == len(CARDS)


def test_numbers_hang_on_the_banks_keys_and_outlive_a_rotation(tmp_path: Path) -> None:
    path = write_keys(tmp_path / "keys.json", new_document(now_utc()))
    before = list(listed(KeyFile(path).keyring))
    rotate(path, now_utc())
    assert list(listed(KeyFile(path).keyring)) == before
    other = KeyFile(write_keys(tmp_path / "other.json", new_document(now_utc()))).keyring
    assert not {line[:30] for line in listed(other)} & {line[:30] for line in before}


async def test_seeding_again_adds_nothing(demo: Desk) -> None:
    assert await seed(demo.database, demo.keyring) == 0
    assert await demo.value("select count(*) from cards") == len(CARDS) - 1, "one number is not issued"


async def test_each_demo_card_does_what_it_is_for(demo: Desk) -> None:
    decided: dict[str, Any] = {}
    for card, proof, token in proofs(demo.keyring):
        answer = await demo.merchant.pay(proof, 20_00)
        decided[card.name] = answer.decline_code
        assert answer.card_token in ("", token)
    ordinary = ("Ana Lima", "Bruno Alves", "Clara Nunes", "Davi Rocha")
    assert {decided[name] for name in ordinary} == {pb.DECLINE_CODE_UNSPECIFIED}
    assert decided["Elisa Prado"] == pb.DECLINE_CODE_INSUFFICIENT_FUNDS
    assert decided["Fabio Melo"] == pb.DECLINE_CODE_CARD_BLOCKED
    assert decided["Gilda Reis"] == pb.DECLINE_CODE_EXPIRED_CARD
    for code in DeclineCode:
        assert decided[f"Declined {code}"] == pb.DeclineCode.Value(f"DECLINE_CODE_{code.name}")


async def test_the_demo_commands(bank_url: str, keys_path: Path) -> None:
    settings = {"BANK_DATABASE_URL": bank_url, "BANK_KEYS_FILE": str(keys_path)}
    first = await command("functions.bank.demo", **settings)
    assert (first.returncode, first.stdout) == (0, f"{len(CARDS) - 1} demo cards were added\n")
    lines = (await command("functions.bank.demo", "list", BANK_KEYS_FILE=str(keys_path))).stdout.splitlines()
    assert lines == list(listed(KeyFile(keys_path).keyring))
    wrong = await command("functions.bank.demo", "sell", **settings)
    assert wrong.returncode == 1
    audit = await command("functions.bank.audit", **settings)
    assert (audit.returncode, audit.stdout) == (0, "the books are right\n")


async def test_a_card_is_issued_from_the_command_line(desk: Desk, keys_path: Path) -> None:
    settings = {"BANK_ADDRESS": desk.address, "BANK_KEYS_FILE": str(keys_path)}
    issue = ("functions.bank.cards", "issue", "--name", "Zoë Lima", "--limit-minor", "500000", "--brand", "amex")
    issued = await command(*issue, **settings)
    assert issued.returncode == 0, issued.stderr
    card = json.loads(issued.stdout)
    assert list(card)[: len(FIELDS)] == FIELDS
    assert (card["name"], card["limit_minor"], card["brand"], card["currency"]) == ("Zoë Lima", 500000, "amex", "BRL")
    proof = pb.CardProof(
        **{name: card[name] for name in ("name", "number", "expiration_month", "expiration_year", "cvv")}
    )
    session = await desk.anyone.call("SignIn", pb.SignInRequest(card=proof))
    assert session.card.token == card["token"]

    wrong = await command("functions.bank.cards", "issue", "--name", " ", "--limit-minor", "-1", **settings)
    assert wrong.returncode == 1
    assert "#/name" in wrong.stderr
    assert "#/limit_minor" in wrong.stderr
    nobody = await command(*issue, **(settings | {"BANK_TOKEN": "nonsense"}))
    assert nobody.returncode == 1
    assert "Traceback" not in nobody.stderr
