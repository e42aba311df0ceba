"""What the starters of real engines have in common."""

from __future__ import annotations

import socket
from pathlib import Path


class EngineError(Exception):
    """An engine cannot be started; the message says why, for the person at the terminal."""


def free_port() -> int:
    """A TCP port of the loopback address that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def runs_with(pid: int, argument: str) -> bool:
    """Whether the process has this argument. Its id may have been given to another process since it was noted.

    Where there is no /proc to look at, a process of that id is taken for the one that was noted.
    """
    if not Path("/proc/self").exists():
        return True
    try:
        return argument.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
