"""The bank's public keys, which verify the tokens it signs: kept, and asked for again when one is missing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final

import jwt

from functions.domain.error import Unavailable
from functions.runtime.bank import CALL_TIMEOUT_SECONDS, Bank, bank_errors
from protos.codebank.bank.v1 import bank_pb2

ALGORITHM: Final = "ES256"

KEPT_SECONDS_MAX: Final = 300.0
"""After so long the keys are asked for again, so that one that the bank has withdrawn is not believed for ever."""

ASKED_SECONDS_MIN: Final = 5.0
"""The bank is asked no more often than this, whatever key ids strangers make up."""


class KeySet:
    """The bank's JSON Web Key Set (RFC 7517), by key id."""

    def __init__(self, bank: Bank, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bank = bank
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key of that id, if the bank has it. Raises Unavailable where the bank was never heard."""
        if self._is_due(key_id):
            async with self._asking:
                if self._is_due(key_id):
                    await self._ask()
        if self._keys is None:
            raise Unavailable("the bank's keys are not known yet")
        return self._keys.get(key_id)

    def _is_due(self, key_id: str) -> bool:
        age_seconds = self._clock() - self._asked_at
        missing = self._keys is None or key_id not in self._keys
        return age_seconds >= (ASKED_SECONDS_MIN if missing else KEPT_SECONDS_MAX)

    async def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            with bank_errors():
                answer = await self._bank.stub.GetJsonWebKeySet(
                    bank_pb2.GetJsonWebKeySetRequest(), timeout=CALL_TIMEOUT_SECONDS, metadata=self._bank.metadata()
                )
        except Unavailable:
            return  # What is known is believed on; a key that is not known may be known to the bank.
        keys = json.loads(answer.json)["keys"]
        self._keys = {key["kid"]: jwt.PyJWK(key, ALGORITHM) for key in keys if key.get("alg") == ALGORITHM}
