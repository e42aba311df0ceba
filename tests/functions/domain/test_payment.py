"""Decline codes are published, each with its meaning."""

from __future__ import annotations

from functions.domain.payment import DECLINE_MEANINGS, DeclineCode
from protos.codebank.bank.v1 import bank_pb2 as pb


def test_each_decline_code_has_a_meaning() -> None:
    assert set(DECLINE_MEANINGS) == set(DeclineCode)


def test_the_protocol_has_the_same_decline_codes() -> None:
    of_protocol = {name for name in pb.DeclineCode.keys() if name != "DECLINE_CODE_UNSPECIFIED"}  # noqa: SIM118
    assert of_protocol == {f"DECLINE_CODE_{code.name}" for code in DeclineCode}
