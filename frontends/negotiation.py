"""Content codings: which of those that are ready the caller wants most (RFC 9110 §12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

PREFERENCE: Final = ("br", "gzip", "identity")
"""The codings that are made, the smallest first: what is chosen among codings that the caller wants equally."""

_CODING: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*;\s*[qQ]\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")


def weights(accept_encoding: str) -> dict[str, float]:
    """The codings that the header names, in lower case, each with its weight from 0 to 1, without malformed ones."""
    found: dict[str, float] = {}
    for member in accept_encoding.split(","):
        if match := _CODING.fullmatch(member.strip()):
            found[match[1].lower()] = float(match[2] or 1)
    return found


def chosen_coding(accept_encoding: str, available: Collection[str]) -> str:
    """The coding to answer in: identity where nothing better is wanted, and also where everything is refused."""
    wanted = weights(accept_encoding)
    if "x-gzip" in wanted:
        wanted.setdefault("gzip", wanted["x-gzip"])
    rest = wanted.get("*", 0.0)

    def weight(coding: str) -> float:
        # Unless it is refused, identity is always acceptable, and then the last resort.
        return wanted.get(coding, (rest or 1e-6) if coding == "identity" and "*" not in wanted else rest)

    candidates = [coding for coding in PREFERENCE if coding in available]
    best = max(candidates, key=weight, default="identity")
    return best if weight(best) > 0 else "identity"
