"""Whether a schema can take another's place: events of before are still read, and readers of before read on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

UPPER_BOUNDS = ("maxLength", "maximum", "exclusiveMaximum", "maxItems")
LOWER_BOUNDS = ("minLength", "minimum", "exclusiveMinimum", "minItems")


def incompatibilities(before: Schema, after: Schema) -> list[str]:
    """What breaks somebody, in a sentence each. An optional field more, or a wider limit, breaks nobody."""
    return list(_compare(before, after, before, after, ""))


def _compare(old: Schema, new: Schema, before: Schema, after: Schema, place: str) -> Iterator[str]:
    old, new = _resolved(old, before), _resolved(new, after)
    if old.get("type") != new.get("type") or ("anyOf" in old) != ("anyOf" in new):
        yield f"{place or 'the event'} has another type"
        return
    if "anyOf" in old:
        yield from _compare_choices(old["anyOf"], new["anyOf"], before, after, place)
        return
    for keyword in ("format", "pattern", "const"):
        if old.get(keyword) != new.get(keyword):
            yield f"{place}: {keyword} has changed"
    yield from _compare_values(old, new, place)
    yield from _compare_fields(old, new, before, after, place)


def _compare_choices(old: list[Schema], new: list[Schema], before: Schema, after: Schema, place: str) -> Iterator[str]:
    if len(old) != len(new):
        yield f"{place} has another type"
        return
    for one, other in zip(old, new, strict=True):
        yield from _compare(one, other, before, after, place)


def _compare_values(old: Schema, new: Schema, place: str) -> Iterator[str]:
    if set(old.get("enum", ())) - set(new.get("enum", ())):
        yield f"{place}: a value that was sent is no longer accepted"
    for keyword in UPPER_BOUNDS:
        if keyword in new and new[keyword] < old.get(keyword, float("inf")):
            yield f"{place}: {keyword} is narrower"
    for keyword in LOWER_BOUNDS:
        if keyword in new and new[keyword] > old.get(keyword, float("-inf")):
            yield f"{place}: {keyword} is narrower"


def _compare_fields(old: Schema, new: Schema, before: Schema, after: Schema, place: str) -> Iterator[str]:
    was, now = old.get("properties", {}), new.get("properties", {})
    needed, need = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(need - needed):
        yield f"{place}/{name} is required now, and events of before lack it"
    for name in sorted(needed - need):
        yield f"{place}/{name} may be missing now, and readers of before need it"
    for name in sorted(was.keys() - now.keys()):
        yield f"{place}/{name} is gone"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{place or 'the event'} refuses unknown fields now"
    for name in was.keys() & now.keys():
        yield from _compare(was[name], now[name], before, after, f"{place}/{name}")


def _resolved(schema: Schema, document: Schema) -> Schema:
    if "$ref" in schema:
        found: Schema = document["$defs"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema
