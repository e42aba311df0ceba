"""The catalogue: what is committed is what the models say, and it breaks nobody who reads the last release's events."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest

from functions.domain.event import BANK_SOURCE, CATALOGUE, PAYMENT_APPROVED
from local.catalogue import ASYNCAPI, EVENT_TYPES, SCHEMAS, files, schema_of
from local.process import ROOT
from tests.eventing.compatibility import incompatibilities
from tests.functions.events import event_of

RELEASED = ROOT / SCHEMAS / "released"


def released() -> dict[str, dict[str, Any]]:
    """The schemas of the last release, by event type."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RELEASED.glob("*.json"))}


def test_the_committed_files_are_what_the_models_say() -> None:
    for path, content in files().items():
        assert (ROOT / path).read_text() == content, f"{path} is stale: run ./task events:generate"
    committed = {path.relative_to(ROOT) for path in (ROOT / SCHEMAS).glob("*.*")} | {EVENT_TYPES}
    assert committed == files().keys()


@pytest.mark.parametrize("event_type", released())
def test_every_event_of_the_last_release_is_still_understood_and_still_sent(event_type: str) -> None:
    assert event_type in CATALOGUE, f"{event_type} is gone"
    assert incompatibilities(released()[event_type], schema_of(event_type)) == []


def changed(path: str, value: Any) -> dict[str, Any]:
    schema = copy.deepcopy(schema_of(PAYMENT_APPROVED))
    *parents, last = path.split("/")
    target: Any = schema
    for parent in parents:
        target = target[parent]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return schema


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("required", [*schema_of(PAYMENT_APPROVED)["required"], "refund_of"], "refund_of is required now"),
        ("required", schema_of(PAYMENT_APPROVED)["required"][1:], "transaction_id may be missing now"),
        ("properties/store", None, "/store is gone"),
        ("properties/store/type", "integer", "/store has another type"),
        ("properties/store/maxLength", 10, "/store: maxLength is narrower"),
        ("properties/amount_minor/exclusiveMinimum", 5, "exclusiveMinimum is narrower"),
        ("properties/payment_date/format", "date", "format has changed"),
        ("properties/order_id/anyOf", [{"type": "string"}], "/order_id has another type"),
        ("properties/status/const", "refunded", "const has changed"),
        ("$defs/EventCard/properties/last4", None, "/card/last4 is gone"),
        ("additionalProperties", False, "refuses unknown fields now"),
    ],
)
def test_a_change_that_breaks_somebody_is_found(path: str, value: Any, sentence: str) -> None:
    found = incompatibilities(schema_of(PAYMENT_APPROVED), changed(path, value))
    assert any(sentence in each for each in found), found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("properties/new", {"type": "string"}),
        ("properties/store/maxLength", 10_000),
        ("description", "Other words."),
    ],
)
def test_a_change_that_breaks_nobody_is_let_through(path: str, value: Any) -> None:
    assert incompatibilities(schema_of(PAYMENT_APPROVED), changed(path, value)) == []


@pytest.mark.parametrize("event_type", CATALOGUE)
def test_consumers_accept_fields_that_they_do_not_know(event_type: str) -> None:
    data = json.loads(event_of(event_type).data) | {"invented_later": {"deeply": [1]}}
    assert CATALOGUE[event_type].model_validate_json(json.dumps(data))


def test_every_message_of_the_asyncapi_document_has_its_schema() -> None:
    document = (ROOT / ASYNCAPI).read_text()
    for event_type in CATALOGUE:
        assert f"./{event_type}.json" in document
        assert (ROOT / SCHEMAS / f"{event_type}.json").is_file()


def test_the_catalogue_is_printed_for_people() -> None:
    command = [sys.executable, "-m", "local.catalogue", "show"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(event_type in shown for event_type in CATALOGUE)
    assert BANK_SOURCE in shown
    assert "card            {token, brand, last4}" in shown
