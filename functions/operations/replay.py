"""Sending a dead letter again: to the one step that did not take it, and to no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from functions.domain.error import Conflict
from functions.operations.letters import DISCARDED, REPLAYED, DeadLetter, Letters
from functions.runtime import settings

SEND_SECONDS_MAX: Final = 15.0
REASON_CHARACTERS_MAX: Final = 1024


def targets_of_settings() -> dict[str, str]:
    """The address of each step that can be given an event again, by REPLAY_TARGETS: "post=http://… settle=http://…"."""
    pairs = [pair.partition("=") for pair in settings.text("REPLAY_TARGETS").split()]
    if not all(name and separator and url for name, separator, url in pairs):
        raise settings.SettingError("REPLAY_TARGETS is not a list of name=url")
    return {name: url for name, _, url in pairs}


class Replay:
    """Sends dead letters again."""

    def __init__(self, letters: Letters, targets: Mapping[str, str]) -> None:
        self._letters = letters
        self._targets = targets
        # Replays are rare: no connection is kept for the next one.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(timeout=SEND_SECONDS_MAX, limits=limits, trust_env=False)

    async def replay(self, letter: DeadLetter, who: str) -> DeadLetter:
        """The letter as it is afterwards: replayed, or open with what the step said this time.

        Raises Conflict where it was discarded or where its step takes no events from here.
        """
        if letter.state == DISCARDED:
            raise Conflict("The dead letter was discarded.")
        url = self._targets.get(letter.step)
        if url is None:
            raise Conflict(f"No event can be given to {letter.step or 'an unknown step'} from here.")
        try:
            answer = await self._client.post(url, headers=letter.headers, content=letter.data)
        except httpx.HTTPError as error:
            return await self._letters.failed_again(letter.id, "0", f"{letter.step} did not answer: {error}")
        if answer.is_success:
            return await self._letters.close(letter.id, REPLAYED, who)
        reason = answer.text[:REASON_CHARACTERS_MAX]
        return await self._letters.failed_again(letter.id, str(answer.status_code), reason)
