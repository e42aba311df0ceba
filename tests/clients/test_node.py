"""The old protocol, spoken by a client in JavaScript that knows nothing of us but payment.proto."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.process import ROOT
from tests.running import RunningSystem

pytestmark = pytest.mark.system

CLIENT = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with its packages, as the lock file has them."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("npm is missing: tests/machine.sh installs it on Debian")
        pytest.skip("npm is missing, so the JavaScript client cannot be run")
    folder = tmp_path_factory.mktemp("node") / "client"
    shutil.copytree(CLIENT, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)
    return folder


def pay(client: Path, system: RunningSystem, card: dict[str, Any], amount: float) -> dict[str, str]:
    request = {
        "creditCard": {
            "name": card["name"],
            "number": card["number"],
            "expirationMonth": card["expiration_month"],
            "expirationYear": card["expiration_year"],
            "cvv": int(card["cvv"]),
        },
        "amount": amount,
        "store": "an old shop",
        "description": "by the old protocol",
    }
    command = ["node", "pay.mjs", system.state.bank_address, str(ROOT / "protos")]
    result = subprocess.run(command, cwd=client, input=json.dumps(request), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answer: dict[str, str] = json.loads(result.stdout)
    return answer


def test_a_payment_is_taken_and_a_refusal_is_failed_precondition(client: Path, system: RunningSystem) -> None:
    good = system.card()
    poor = next(card for card in system.cards() if card["limit_minor"] < 10_000)
    assert pay(client, system, good, 12.34) == {"status": "OK", "details": ""}
    assert pay(client, system, poor, 999.0)["status"] == "FAILED_PRECONDITION"
    assert pay(client, system, good, 19.999)["status"] == "INVALID_ARGUMENT"
    assert pay(client, system, good, -1.0)["status"] == "INVALID_ARGUMENT"
