"""The data folder (var/ by default): one running system each, said by a lock that a crash releases."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FOLDER_DEFAULT: Final = "var"


class NotRunning(Exception):
    """Nothing runs on this data folder."""


class AlreadyRunning(Exception):
    """Another system runs on this data folder."""


@dataclass(frozen=True)
class State:
    """Where the running system is reached. control_token lets only who can read the folder ask for secrets."""

    pid: int
    url: str
    bank_address: str
    control_url: str
    control_token: str


class Folder:
    """CODEBANK_DATA, or var/ in the checkout."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_settings(cls) -> Folder:
        """The folder that the environment names."""
        return cls(Path(os.environ.get("CODEBANK_DATA", FOLDER_DEFAULT)).resolve())

    @property
    def postgresql(self) -> Path:
        """The embedded PostgreSQL's folder."""
        return self.path / "postgresql"

    @property
    def secrets(self) -> Path:
        """A folder for each Secret, a file for each of its keys."""
        return self.path / "secrets"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process. Raises AlreadyRunning, naming who holds it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "another process"
                raise AlreadyRunning(f"{self.path} is in use by process {holder}") from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield
            finally:
                (self.path / "state.json").unlink(missing_ok=True)

    def write_state(self, state: State) -> None:
        """Says where the system is reached, to who may read the folder."""
        path = self.path / f"state.{secrets.token_hex(4)}"
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(state)))
        path.replace(self.path / "state.json")

    def read_state(self) -> State:
        """Where the running system is reached. Raises NotRunning."""
        try:
            with (self.path / "lock").open("a+") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return State(**json.loads((self.path / "state.json").read_text()))
        except FileNotFoundError:
            pass
        raise NotRunning(f"nothing runs on {self.path}: start it with ./task up")
