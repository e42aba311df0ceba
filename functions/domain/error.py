"""How codebank fails.

CodebankError
├── Invalid            the request or event itself is wrong; repeating it changes nothing
├── Unauthenticated    who asks is not known
├── Forbidden          who asks may not
├── NotFound           what is asked for does not exist
├── Conflict           it contradicts what was decided before, such as a reused idempotency key
├── Busy               too much at once, or too often; repeat after a while
└── Unavailable        something that is needed is down; repeat after a while

Each leaf has one meaning. functions/runtime/answer.py maps each to its HTTP status, and so to a source's retry policy.
Messages are written for the caller: they never hold a card number, a CVV or a secret.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request.

    pointer: where, as a JSON Pointer in a URI fragment (RFC 6901 §6), "#/items/0/quantity"; code: a short stable word
    that a page can translate; detail: a sentence for people.
    """

    pointer: str
    code: str
    detail: str


class CodebankError(Exception):
    """The root: what went wrong, as a sentence for the caller."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Invalid(CodebankError):
    """The request or event itself is wrong."""

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.faults = faults


class Unauthenticated(CodebankError):
    """Who asks is not known."""


class Forbidden(CodebankError):
    """Who asks may not."""


class NotFound(CodebankError):
    """What is asked for does not exist."""


class Conflict(CodebankError):
    """It contradicts what was decided before."""


class Busy(CodebankError):
    """Too much at once, or too often."""

    def __init__(self, detail: str, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(CodebankError):
    """Something that is needed is down; nothing is known to have been done."""

    def __init__(self, detail: str, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
