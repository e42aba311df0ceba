"""What the dead letters' API takes and answers (DESIGN §8's manners)."""

from __future__ import annotations

import base64
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from functions.domain.event import rfc3339
from functions.operations.letters import DeadLetter
from functions.runtime.cursor import Cursor, WholeNumber

PAGE_LETTERS_DEFAULT = 50
REPLAY_LETTERS_MAX = 200

Page = Annotated[WholeNumber, Field(ge=1, le=200)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=1000)]


class ListQuery(BaseModel):
    """Which letters are wanted."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["open", "replayed", "discarded"] | None = None
    step: Name | None = None
    type: Name | None = None
    after: Cursor = 0
    limit: Page = PAGE_LETTERS_DEFAULT


class Selection(BaseModel):
    """Which letters are replayed: these, or the oldest open ones of a step."""

    model_config = ConfigDict(extra="forbid")

    ids: list[uuid.UUID] | None = Field(default=None, min_length=1, max_length=REPLAY_LETTERS_MAX)
    step: Name | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Selection:
        if (self.ids is None) == (self.step is None):
            raise ValueError("Either ids or a step is needed.")
        return self


class Discard(BaseModel):
    """Why a letter is given up."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


def summary(letter: DeadLetter) -> dict[str, Any]:
    """A letter as a list shows it."""
    times = {
        name: rfc3339(moment) if moment else None
        for name, moment in (
            ("first_at", letter.first_at),
            ("last_at", letter.last_at),
            ("closed_at", letter.closed_at),
        )
    }
    return {
        "id": str(letter.id),
        "step": letter.step,
        "state": letter.state,
        "event": {
            "id": letter.event_id,
            "source": letter.event_source,
            "type": letter.event_type,
            "subject": letter.subject,
        },
        "error_code": letter.error_code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        **times,
        "closed_by": letter.closed_by,
        "discard_reason": letter.discard_reason,
    }


def whole(letter: DeadLetter) -> dict[str, Any]:
    """A letter with the event in it: data as text where it is text, as base64 where it is not."""
    try:
        data = {"data": letter.data.decode()}
    except UnicodeDecodeError:
        data = {"data_base64": base64.b64encode(letter.data).decode()}
    return summary(letter) | {"headers": letter.headers, **data}
