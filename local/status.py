"""./task status: what runs, how far each source is, what could not be delivered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from local.folder import NotRunning, State

ANSWER_SECONDS_MAX: Final = 60.0


def _ask(state: State, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {state.control_token}"}
    try:
        response = httpx.request(
            "GET" if body is None else "POST",
            state.control_url + path,
            json=body,
            headers=headers,
            timeout=ANSWER_SECONDS_MAX,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise NotRunning(f"process {state.pid} does not answer: {error}") from error
    if response.is_error:
        raise NotRunning(response.json()["detail"])
    return response.json()


def environment_of(state: State, name: str) -> dict[str, str]:
    """The environment in which the running system starts this service or job."""
    environment: dict[str, str] = _ask(state, f"/environment/{name}")
    return environment


def rewind(state: State, source: str, start: Mapping[str, object]) -> int:
    """Lets a source deliver again; answers how many events that is. Raises NotRunning with what the system says."""
    return int(_ask(state, f"/rewind/{source}", start)["events"])


def show(state: State, *, as_json: bool) -> None:
    """Prints the status, as tables or as JSON."""
    status = _ask(state, "/status")
    if as_json:
        print(json.dumps(status, indent=2))
        return
    print(f"{state.url}   bank {state.bank_address}   process {state.pid}\n")
    _table(
        ("service", "instances", "restarts", "under way", "address"),
        [
            (
                service["name"],
                f"{sum(each['ready'] for each in service['instances'])}/{len(service['instances'])}",
                service["restarts"],
                sum(each["under_way"] for each in service["instances"]),
                service["address"] or "started by the next request",
            )
            for service in status["services"]
        ],
    )
    _table(
        ("source", "group", "lag", "delivered", "retried", "dead letters"),
        [
            tuple(source[key] for key in ("name", "group", "lag", "delivered", "retried", "dead_letters"))
            for source in status["sources"]
        ],
    )
    _table(("topic", "records"), [(topic["name"], topic["records"]) for topic in status["topics"]])


def _table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    lines = [tuple(titles), *(tuple("?" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
