"""Cursors: a position in a list, as the opaque text that a caller hands back."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

POSITION_BYTES = 8


def cursor_of(position: int) -> str:
    """The cursor of a position, which is zero or more."""
    return base64.urlsafe_b64encode(position.to_bytes(POSITION_BYTES)).decode().rstrip("=")


def _position(cursor: object) -> int:
    try:
        position = int.from_bytes(base64.urlsafe_b64decode(f"{cursor}="))
        if cursor_of(position) != cursor or position >= 1 << 63:
            raise ValueError
    except (ValueError, OverflowError, binascii.Error):
        raise PydanticCustomError("invalid_cursor", "A cursor is one that an answer before gave.") from None
    return position


def _whole_number(text: object) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 18):
        raise PydanticCustomError("wrong_type", "It is a whole number, in digits.")
    return int(text)


Cursor = Annotated[int, BeforeValidator(_position)]
"""A query parameter that is a cursor, as the position that it stands for."""

WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
"""A query parameter that is a whole number, written in digits and nothing else."""
