"""A whole system in processes of its own, as ./task up starts it, for tests that use it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from local.folder import Folder, State
from local.process import ROOT

START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.05


class RunningSystem:
    """One system on a data folder of its own and free ports. Its output is kept in the file log."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """arguments and environment are given to ./task up."""
        self._arguments = arguments
        self.folder = Folder(folder / "var")
        self.log = folder / "log"
        self._environment = os.environ | {
            "CODEBANK_DATA": str(self.folder.path),
            "CODEBANK_PORT": "0",
            "CODEBANK_BANK_PORT": "0",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> State:
        """Where it is reached."""
        return self.folder.read_state()

    @property
    def url(self) -> str:
        """The public address."""
        return self.state.url

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local", "up", "--no-reload", *self._arguments],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not (self.folder.path / "state.json").exists():
            assert self._process.poll() is None, f"it ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"it is not ready:\n{self.tail()}"
            time.sleep(POLL_SECONDS)

    def stop(self) -> int:
        """Ends it as Ctrl-C does, and answers its status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(STOP_SECONDS_MAX)

    def kill(self) -> None:
        """Ends the supervisor at once, as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        (self.folder.path / "state.json").unlink()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `python -m local …` against it."""
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """What ./task status --json prints."""
        result = self.run("status", "--json")
        assert result.returncode == 0, result.stderr
        status: dict[str, Any] = json.loads(result.stdout)
        return status

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service."""
        answer = httpx.get(
            f"{self.state.control_url}/environment/{name}",
            headers={"Authorization": f"Bearer {self.state.control_token}"},
        )
        found: dict[str, str] = answer.raise_for_status().json()
        return found

    def cards(self) -> list[dict[str, Any]]:
        """The demo cards."""
        result = self.run("exec", "bank", "--", "python", "-m", "functions.bank.demo", "list")
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    def card(self, index: int = 0) -> dict[str, Any]:
        """One demo card; the first is good and has a large limit."""
        return self.cards()[index]

    def tail(self) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])
