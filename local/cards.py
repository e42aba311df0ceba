"""The demo cards of the running bank, as its own command lists them. Their numbers go to memory and terminal alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from local.folder import NotRunning


def demo_cards() -> list[dict[str, Any]]:
    """The demo cards of the running bank. Their numbers go through this process' memory only."""
    command = [sys.executable, "-m", "local", "exec", "bank", "--", "python", "-m", "functions.bank.demo", "list"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NotRunning(result.stderr.strip() or "the demo cards could not be listed")
    return [json.loads(line) for line in result.stdout.splitlines()]


def card_line(card: dict[str, Any]) -> str:
    """A card in a line, as it is read off and typed."""
    number = " ".join(card["number"][start : start + 4] for start in range(0, len(card["number"]), 4))
    expiry = f"{card['expiration_month']:02}/{card['expiration_year'] % 100:02}"
    limit = f"limit {card['limit_minor'] / 100:,.2f} {card['currency']}"
    return f"card {number:<19}  {expiry}  CVV {card['cvv']:<4}  {card['name']:<12}  {limit}"
