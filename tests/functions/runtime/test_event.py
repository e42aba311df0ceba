"""CloudEvents through functions-framework: what a step is given, and how its errors are answered."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.domain.error import (
    Busy,
    CodebankError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from functions.domain.event import CATALOGUE, PAYMENT_APPROVED
from functions.runtime import server
from functions.runtime.answer import EVENT_STATUS, STATUS
from functions.runtime.event import Event, announce, binary_request
from tests.functions.domain.test_event import DATA

pytestmark = pytest.mark.anyio

STEP = """
from functions.runtime.event import event_function
seen = []
failure = [None]

async def handle(event):
    seen.append(event)
    if failure[0]:
        raise failure[0]
    event.transaction()

step = event_function(handle)
"""


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[httpx.AsyncClient, Any]:
    """A step served as the platform serves it, and its module."""
    (tmp_path / "toystep.py").write_text(STEP)
    monkeypatch.setenv("FUNCTION_SOURCE", str(tmp_path / "toystep.py"))
    monkeypatch.setenv("FUNCTION_TARGET", "step")
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "cloudevent")
    monkeypatch.delitem(sys.modules, "toystep", raising=False)
    application = server.application()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://step")
    return client, importlib.import_module("toystep")


def event(data: bytes = json.dumps(DATA).encode(), **attributes: str) -> tuple[dict[str, str], bytes]:
    return binary_request(Event(**{"id": "1", "source": "/s", "type": PAYMENT_APPROVED, **attributes}, data=data))  # type: ignore[arg-type]


async def test_an_event_arrives_as_it_was_announced(step: tuple[httpx.AsyncClient, Any]) -> None:
    client, module = step
    data = CATALOGUE[PAYMENT_APPROVED].model_validate(DATA)
    announced = announce(PAYMENT_APPROVED, "/codebank/bank", "e1", data, partition_key="card")
    headers, body = binary_request(announced)
    assert (await client.post("/", headers=headers, content=body)).status_code == 200
    (seen,) = module.seen
    assert (seen.id, seen.source, seen.type, seen.subject) == ("e1", "/codebank/bank", PAYMENT_APPROVED, "t")
    assert seen.extensions["partitionkey"] == "card"
    assert seen.transaction() == data


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Invalid("x"), 422),
        (NotFound("x"), 422),
        (Conflict("x"), 422),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (Busy("x", retry_after_seconds=7), 429),
        (Unavailable("x", retry_after_seconds=7), 503),
        (ZeroDivisionError("secret detail"), 500),
    ],
)
async def test_every_error_has_its_answer(step: tuple[httpx.AsyncClient, Any], failure: Exception, status: int) -> None:
    client, module = step
    module.failure[0] = failure
    headers, body = event()
    answer = await client.post("/", headers=headers, content=body)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("7" if status in {429, 503} else None)
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text


def test_every_leaf_of_the_error_tree_has_an_answer() -> None:
    leaves = {leaf for leaf in CodebankError.__subclasses__() if leaf.__module__ == "functions.domain.error"}
    assert leaves == STATUS.keys() == EVENT_STATUS.keys()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"{}", b"1" * 5000, b"[" * 100_000])
async def test_poison_is_refused_and_not_retried(step: tuple[httpx.AsyncClient, Any], data: bytes) -> None:
    client, _ = step
    headers, body = event(data)
    # 400 is the framework's own, for what it cannot even read; to a source both say: never again.
    assert (await client.post("/", headers=headers, content=body)).status_code in {400, 422}


async def test_an_unknown_type_is_refused(step: tuple[httpx.AsyncClient, Any]) -> None:
    client, _ = step
    headers, body = event(type="codebank.payment.invented.v1")
    assert (await client.post("/", headers=headers, content=body)).status_code == 422


async def test_what_is_no_event_or_too_large_never_reaches_the_step(step: tuple[httpx.AsyncClient, Any]) -> None:
    client, module = step
    assert (await client.post("/", content=b"{}")).status_code == 400
    headers, body = event(b"x" * (1024 * 1024 + 1))
    assert (await client.post("/", headers=headers, content=body)).status_code == 422
    assert (await client.get("/")).status_code == 405
    assert module.seen == []


async def test_health_is_answered_beside_the_function(step: tuple[httpx.AsyncClient, Any]) -> None:
    client, _ = step
    assert (await client.get("/healthz")).json() == {"status": "ok"}
