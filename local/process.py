"""A child process: its output goes to the console line by line, and it does not outlive this one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from local.console import Console

ROOT: Final = Path(__file__).resolve().parent.parent
TAIL_LINES: Final = 15
LINE_BYTES_MAX: Final = 1024 * 1024
_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent() -> None:
    """Linux ends the child when its parent is killed; elsewhere an orphan stays until it is ended by hand."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def container_command(command: Sequence[str]) -> list[str]:
    """The command as it is on this machine: the python of a container is the interpreter that runs this."""
    program, *arguments = command
    return [sys.executable if program == "python" else program, *arguments]


class Process:
    """One child. tail holds the last lines that it wrote, to say why it died."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, console: Console) -> None:
        self.name = name
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process = process
        self._console = console
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], environment: Mapping[str, str], console: Console
    ) -> Process:
        """Starts a container's command in the checkout."""
        process = await asyncio.create_subprocess_exec(
            *container_command(command),
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES_MAX,
            # Ctrl-C reaches this process alone, which then ends its children in order.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        return cls(name, process, console)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def output(self) -> str:
        """Its last lines, as text."""
        return "\n".join(self.tail)

    async def exited(self) -> int:
        """Waits for the end, and for the last line; answers the status, negative for a signal."""
        status = await self._process.wait()
        await asyncio.wait([self._reader])
        return status

    async def stop(self, grace_seconds: float) -> int:
        """Asks it to end (SIGTERM), and ends it (SIGKILL) where it has not after the grace."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace_seconds)
        except TimeoutError:
            self._console.say(f"{self.name} did not end within {grace_seconds:.0f} s and is killed", level="warning")
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        return await self.exited()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:
                line = b"(a line was too long)\n"
            if not line:
                return
            text = line.decode(errors="replace").rstrip("\n")
            self.tail.append(text)
            self._console.line(self.name, text)
