"""Ids that derive from what they name, so that a repeat is recognised."""

from __future__ import annotations

import uuid

NAMESPACE = uuid.UUID("8f1c1b0e-6d0a-5c51-9d0e-3f6b6b1c7a55")


def derived_id(kind: str, *parts: str) -> str:
    """The id of a thing of that kind that the parts name: a UUID of version 5 (RFC 9562 §5.5), as text.

    Parts are joined by a character that none of them may hold, so that ("ab", "c") and ("a", "bc") differ.
    """
    name = "\0".join((kind, *parts))
    if name.count("\0") != len(parts):
        raise ValueError("a part of an id holds a NUL character")
    return str(uuid.uuid5(NAMESPACE, name))
