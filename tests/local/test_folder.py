"""The data folder belongs to one running system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local.folder import AlreadyRunning, Folder, NotRunning, State

STATE = State(1, "http://127.0.0.1:1", "127.0.0.1:2", "http://127.0.0.1:3/control", "token")


def test_a_second_system_on_the_folder_is_refused_by_name_of_the_first(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "var")
    with folder.locked(), pytest.raises(AlreadyRunning, match=f"in use by process {os.getpid()}"), folder.locked():
        pass
    with folder.locked():
        pass


def test_the_state_is_read_while_the_system_runs_and_by_its_owner_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "var")
    with folder.locked():
        folder.write_state(STATE)
        assert folder.read_state() == STATE
        assert (folder.path / "state.json").stat().st_mode & 0o077 == 0
    with pytest.raises(NotRunning, match=r"start it with ./task up"):
        folder.read_state()


def test_the_state_of_a_system_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "var")
    with folder.locked():
        folder.write_state(STATE)
        left = (folder.path / "state.json").read_text()
    (folder.path / "state.json").write_text(left)
    with pytest.raises(NotRunning):
        folder.read_state()
