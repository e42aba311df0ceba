"""What the person at the terminal reads: each process' lines behind its name in a colour of its own; JSON elsewhere."""

from __future__ import annotations

import json
import sys
import zlib
from datetime import UTC, datetime
from typing import Final, TextIO

_COLOURS: Final = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
_LEVEL_COLOURS: Final = {"warning": 33, "error": 31, "critical": 31}
_SHOWN: Final = frozenset({"time", "level", "service", "message", "traceback", "trace_id"})
NAME_WIDTH: Final = 12


class Console:
    """Writes lines to a stream, in colours where it is a terminal."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()

    def line(self, name: str, text: str) -> None:
        """One line that a process has written: JSON as functions/runtime/log.py makes it, or plain text."""
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            fields = {"level": "info", "message": text}
        fields = (
            {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": "info"} | fields | {"service": name}
        )
        self._write(self._coloured(name, fields) if self.is_terminal else json.dumps(fields, ensure_ascii=False))

    def say(self, text: str, *, level: str = "info") -> None:
        """A line of the local platform itself."""
        self.line("local", json.dumps({"level": level, "message": text}))

    def plain(self, text: str) -> None:
        """A line that is an answer to the person, not a log."""
        self._write(text)

    def _coloured(self, name: str, fields: dict[str, object]) -> str:
        colour = _COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)]
        message = str(fields.get("message", ""))
        if level := _LEVEL_COLOURS.get(str(fields.get("level"))):
            message = f"\x1b[{level}m{message}\x1b[0m"
        extras = "".join(f" \x1b[2m{key}={value}\x1b[0m" for key, value in fields.items() if key not in _SHOWN)
        prefix = f"\x1b[{colour}m{name:>{NAME_WIDTH}}\x1b[0m │ "
        lines = [prefix + message + extras]
        lines += [prefix + f"\x1b[2m{line}\x1b[0m" for line in str(fields.get("traceback") or "").splitlines()]
        return "\n".join(lines)

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
