"""How a card travels: in as part of an HTTP body, and on to the bank. Between the two it is a CardProof."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from functions.domain.card import CardProof
from functions.domain.secret import Secret
from protos.codebank.bank.v1 import bank_pb2


class CardBody(BaseModel):
    """What is read off a card. Digits are text: a CVV may begin with a zero. Numbers may be grouped."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    number: Secret
    expiration_month: int
    expiration_year: int
    cvv: Secret

    def proof(self, pointer: str, *, name: str = "") -> CardProof:
        """The card, with faults at its fields under the pointer. Raises Invalid."""
        return CardProof.read(
            name=name,
            number=re.sub(r"[ -]", "", self.number.reveal()),
            expiration_month=self.expiration_month,
            expiration_year=self.expiration_year,
            cvv=self.cvv.reveal(),
            pointer=pointer,
        )


def proof_message(proof: CardProof) -> bank_pb2.CardProof:
    """The card as the bank reads it: the one place, after what a caller sent, where number and CVV are in the open."""
    return bank_pb2.CardProof(
        name=proof.name,
        number=proof.number.reveal(),
        expiration_month=proof.expiry.month,
        expiration_year=proof.expiry.year,
        cvv=proof.cvv.reveal(),
    )
