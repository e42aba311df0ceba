"""The event catalogue as others read it: `python -m local.catalogue show|write`.

functions/domain/event.py is where the events are defined. From it come a JSON Schema for each type (draft 2020-12), an
AsyncAPI 3.0 document and Knative's EventTypes, all under eventing/; they are committed, and a test holds them fresh.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from functions.domain.event import BANK_SOURCE, CATALOGUE
from local.process import ROOT

SCHEMAS: Final = Path("eventing/schemas")
ASYNCAPI: Final = SCHEMAS / "asyncapi.yaml"
EVENT_TYPES: Final = Path("eventing/event_types.yaml")
TOPIC: Final = "transactions"
DEAD_LETTER_TOPIC: Final = "transactions.dead-letter"
JSON_SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"
GENERATED: Final = "# Generated from functions/domain/event.py by ./task events:generate; not to be changed by hand.\n"

# What every event carries in Kafka besides its data (CloudEvents Kafka binding, binary mode).
HEADERS: Final[dict[str, str]] = {
    "ce_specversion": '"1.0"',
    "ce_id": "the same for each publication of one announcement; with ce_source it names the event",
    "ce_source": f"who announces it, such as {BANK_SOURCE}",
    "ce_type": "what it announces",
    "ce_subject": "the transaction's id",
    "ce_time": "when it happened (RFC 3339, UTC)",
    "ce_partitionkey": "the card's token, which is also the record's key",
    "content-type": "application/json",
}
OPTIONAL_HEADERS: Final[dict[str, str]] = {"ce_traceparent": "the W3C trace context of the request that caused it"}


def _meaning(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def schema_of(event_type: str) -> dict[str, Any]:
    """The JSON Schema of the type's data. Consumers accept fields that it does not name."""
    schema = CATALOGUE[event_type].model_json_schema()
    return {"$schema": JSON_SCHEMA, "$id": f"urn:{event_type.replace('.', ':')}", **schema}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI document: what to read where, and what it looks like."""
    messages = {model.__name__: {"$ref": f"#/components/messages/{model.__name__}"} for model in CATALOGUE.values()}
    headers = {name: {"type": "string", "description": text} for name, text in (HEADERS | OPTIONAL_HEADERS).items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "codebank events",
            "version": "1.0.0",
            "description": "What the bank decided. Delivery is at least once: ce_source and ce_id tell a repeat. "
            "Order is kept for each card. Accept fields that you do not know.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "cluster": {"host": "codebank-kafka-bootstrap.codebank.svc:9092", "protocol": "kafka"},
        },
        "channels": {
            TOPIC: {
                "address": TOPIC,
                "description": "Every transaction of the bank, with the card's token as the key.",
                "messages": messages,
            },
            DEAD_LETTER_TOPIC: {
                "address": DEAD_LETTER_TOPIC,
                "description": "What a consumer did not take: the event as it was, with ce_knativeerrordest, "
                "ce_knativeerrorcode and ce_knativeerrordata.",
                "messages": messages,
            },
        },
        "operations": {
            "announceTransaction": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{TOPIC}"},
                "summary": "The bank announces each transaction it has decided.",
            },
        },
        "components": {
            "messages": {
                model.__name__: {
                    "name": event_type,
                    "title": model.__name__,
                    "summary": _meaning(model),
                    "contentType": "application/json",
                    "headers": {"type": "object", "required": list(HEADERS), "properties": headers},
                    "payload": {
                        "schemaFormat": "application/schema+json;version=draft-2020-12",
                        "schema": {"$ref": f"./{event_type}.json"},
                    },
                    "bindings": {"kafka": {"key": {"type": "string", "description": "the card's token"}}},
                }
                for event_type, model in CATALOGUE.items()
            }
        },
    }


def event_types() -> list[dict[str, Any]]:
    """Knative's EventTypes, for who looks for events on the cluster."""
    return [
        {
            "apiVersion": "eventing.knative.dev/v1beta3",
            "kind": "EventType",
            "metadata": {"name": event_type, "namespace": "codebank"},
            "spec": {
                "description": _meaning(model),
                "reference": {
                    "apiVersion": "eventing.knative.dev/v1alpha1",
                    "kind": "KafkaSink",
                    "name": TOPIC,
                    "namespace": "codebank",
                },
                "attributes": [
                    {"name": "specversion", "required": True, "value": "1.0"},
                    {"name": "id", "required": True},
                    {"name": "type", "required": True, "value": event_type},
                    {"name": "source", "required": True, "value": BANK_SOURCE},
                ],
            },
        }
        for event_type, model in CATALOGUE.items()
    ]


def files() -> dict[Path, str]:
    """Every generated file, by its path in the checkout."""

    def as_yaml(*documents: object) -> str:
        return GENERATED + yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=120)

    found = {ASYNCAPI: as_yaml(asyncapi()), EVENT_TYPES: as_yaml(*event_types())}
    for event_type in CATALOGUE:
        content = json.dumps(schema_of(event_type), indent=2, ensure_ascii=False) + "\n"
        found[SCHEMAS / f"{event_type}.json"] = content
    return found


def show() -> str:
    """The catalogue as a table for people."""
    lines = []
    for event_type, model in CATALOGUE.items():
        lines += [f"{event_type}", f"  {_meaning(model)} Topic {TOPIC}, source {BANK_SOURCE}."]
        schema = schema_of(event_type)
        for name, field in schema["properties"].items():
            need = "" if name in schema["required"] else " (optional)"
            lines.append(f"    {name:15} {_shape(field, schema)}{need}")
        lines.append("")
    return "\n".join(lines)


def _shape(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in field:
        target = schema["$defs"][field["$ref"].rpartition("/")[2]]
        if "properties" in target:
            return "{" + ", ".join(target["properties"]) + "}"
        return _shape(target, schema)
    if "anyOf" in field:
        return " or ".join(_shape(each, schema) for each in field["anyOf"])
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return "one of " + ", ".join(str(value) for value in field["enum"])
    return str(field.get("format") or field.get("type"))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m local.catalogue", description="the event catalogue")
    parser.add_argument("action", choices=["show", "write"])
    if parser.parse_args().action == "show":
        sys.stdout.write(show())
        return
    for path, content in files().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(content)


if __name__ == "__main__":
    main()
