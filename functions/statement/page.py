"""A page of a statement: what may be asked for, and how it is shown, as JSON and as CSV."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from functions.domain.error import Fault, Invalid
from functions.domain.event import rfc3339
from functions.runtime.cursor import Cursor, WholeNumber
from functions.statement.entries import Bounds, Entry
from functions.statement.sessions import Session

PAGE_ENTRIES_DEFAULT: Final = 100
PAGE_ENTRIES_MAX: Final = 1000
CSV_ENTRIES_DEFAULT: Final = 10_000
"""A file is wanted whole; one that would be longer names the next one in its Link header."""

COLUMNS: Final = (
    "id",
    "kind",
    "transaction_id",
    "order_id",
    "refund_of",
    "amount_minor",
    "currency",
    "store",
    "description",
    "payment_date",
)

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")


def _moment(text: object, *, end: bool) -> dt.datetime:
    try:
        if isinstance(text, str) and _DATE.fullmatch(text):
            day = dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
            return day + dt.timedelta(days=1) if end else day
        if isinstance(text, str) and _MOMENT.fullmatch(text):
            return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("invalid_date", "It is a date (2026-01-31) or a moment (2026-01-31T12:00:00Z), RFC 3339.")


class PageQuery(BaseModel):
    """What may be asked of a statement.

    from and to bound the payment's date: moments from the first, and before the second. A date stands for the whole
    day in UTC, so that from and to with the same date are that day.
    """

    model_config = ConfigDict(extra="forbid")

    after: Cursor = 0
    limit: Annotated[WholeNumber, Field(ge=1, le=PAGE_ENTRIES_MAX)] | None = None
    paid_from: Annotated[dt.datetime, BeforeValidator(lambda text: _moment(text, end=False))] | None = Field(
        None, alias="from"
    )
    paid_before: Annotated[dt.datetime, BeforeValidator(lambda text: _moment(text, end=True))] | None = Field(
        None, alias="to"
    )

    @field_validator("paid_before")
    @classmethod
    def _is_after_from(cls, paid_before: dt.datetime | None, info: ValidationInfo) -> dt.datetime | None:
        paid_from = info.data.get("paid_from")
        if paid_from is not None and paid_before is not None and paid_before < paid_from:
            raise PydanticCustomError("out_of_range", "It is before from.")
        return paid_before

    def bounds(self, last_position: int) -> Bounds:
        """The entries that are asked for, of a card whose last one is there."""
        return Bounds(self.after, last_position, self.paid_from, self.paid_before)

    def expect_known(self, last_position: int) -> None:
        """Raises Invalid for a cursor behind the end, as one is from before the statement was built anew."""
        if self.after > last_position:
            fault = Fault("#/query/after", "unknown_cursor", "The statement has no such position: begin anew.")
            raise Invalid("The address has mistakes.", (fault,))


def wants_csv(headers: Headers) -> bool:
    """Whether the Accept header (RFC 9110 §12.5.1) asks for CSV at least as much as for JSON."""
    weights = {"text/csv": 0.0, "application/json": 0.0}
    for part in ",".join(headers.getlist("accept")).split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        if media_range in weights and re.fullmatch(r"[01](\.\d{0,3})?", quality):
            weights[media_range] = float(quality)
    return weights["text/csv"] > 0 and weights["text/csv"] >= weights["application/json"]


def entry_json(entry: Entry) -> dict[str, Any]:
    """The entry as the API shows it."""
    shown = {"id": str(entry.id), "payment_date": rfc3339(entry.payment_date)}
    return {column: shown.get(column) or getattr(entry, column) for column in COLUMNS}


def json_response(entries: Sequence[Entry], session: Session, following: str, headers: dict[str, str]) -> Response:
    """The entries, the cursor to go on from, and whose they are."""
    content = {
        "entries": [entry_json(entry) for entry in entries],
        "next": following,
        "card": {"brand": session.brand, "last4": session.last4},
    }
    return JSONResponse(content, headers=headers)


def csv_response(entries: Sequence[Entry], link: str | None, headers: dict[str, str]) -> Response:
    """The entries as a file of CSV (RFC 4180) with a header line, and the link to what follows (RFC 8288)."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow([_cell(value) for value in entry_json(entry).values()])
    headers = headers | {"Content-Disposition": 'attachment; filename="statement.csv"'}
    if link is not None:
        headers["Link"] = f'<{link}>; rel="next"'
    return Response(file.getvalue(), media_type="text/csv", headers=headers)


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula is marked as a text: stores write what they like."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
