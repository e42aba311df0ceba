"""Lines at a terminal are for people, elsewhere for programs."""

from __future__ import annotations

import io
import json

from local.console import Console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_each_line_is_json_with_its_service() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.line("bank", '{"level": "error", "message": "no", "event_id": "1", "service": "forged"}')
    console.line("bank", "plain text, not JSON")
    console.line("bank", "[1]")
    first, second, third = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["service"], first["level"], first["event_id"]) == ("bank", "error", "1")
    assert (second["message"], second["level"]) == ("plain text, not JSON", "info")
    assert third["message"] == "[1]"


def test_at_a_terminal_each_line_begins_with_its_service_in_colour() -> None:
    stream = Terminal()
    Console(stream).line("bank", '{"level": "error", "message": "no", "traceback": "a\\nb"}')
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all("\x1b[" in line and "bank" in line and "│" in line for line in lines)
