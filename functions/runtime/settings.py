"""Settings come from the environment, as the manifests state them. A missing or wrong one stops the step, by name."""

from __future__ import annotations

import os


class SettingError(Exception):
    """A setting is missing or wrong; the message names it and says what it should be."""


def text(name: str, default: str | None = None) -> str:
    """The setting as text. Raises SettingError where it is not set and has no default."""
    value = os.environ.get(name, "")
    if value:
        return value
    if default is None:
        raise SettingError(f"{name} is not set")
    return default


def integer(name: str, default: int, *, minimum: int, maximum: int) -> int:
    """The setting as a whole number within its bounds, both included."""
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise SettingError(f"{name} is {value!r}, not a whole number") from None
    if not minimum <= number <= maximum:
        raise SettingError(f"{name} is {number}, not {minimum} to {maximum}")
    return number
