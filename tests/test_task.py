"""./task: what a newcomer runs first."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("sh", "dirname", "cmp", "env", "cp")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the wrapper and a PATH that holds nothing but a few of the system's tools."""
    shutil.copy(ROOT / "task", tmp_path / "task")
    (tmp_path / "requirements-dev.txt").write_text("# nothing\n")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(checkout / "task"), *arguments],
        env={"PATH": str(checkout / "bin"), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_python_is_said_in_one_sentence(checkout: Path) -> None:
    result = run(checkout, "up")
    assert result.returncode == 1
    assert result.stderr.startswith("codebank: Python 3.11 or newer is needed; here is no Python at all.")
    assert len(result.stderr.splitlines()) == 1


def test_an_old_python_is_said_with_its_version(checkout: Path) -> None:
    program(checkout / "bin/python3", '[ "$1" = --version ] && echo Python 3.9.2 || exit 1')
    result = run(checkout, "up")
    assert result.returncode == 1
    assert result.stderr.startswith("codebank: Python 3.11 or newer is needed; here is Python 3.9.2.")
    assert len(result.stderr.splitlines()) == 1


def test_a_made_environment_is_used_as_it_is_and_gets_the_arguments(checkout: Path) -> None:
    program(checkout / ".venv/bin/task", 'printf "%s|" "$@"')
    shutil.copy(checkout / "requirements-dev.txt", checkout / ".venv/installed.txt")
    result = run(checkout, "demo", "--", "--orders", "a b")
    assert (result.returncode, result.stdout, result.stderr) == (0, "demo|--|--orders|a b|", "")


def test_changed_requirements_make_the_environment_anew(checkout: Path) -> None:
    program(checkout / ".venv/bin/task", "echo old")
    (checkout / ".venv/installed.txt").write_text("# something else\n")
    make = (
        '[ "$1" = -c ] && exit 0\n'
        '[ "$1" = --version ] && echo Python 3.12.0 && exit 0\n'
        'printf "#!/bin/sh\\nexit 0\\n" > .venv/bin/python\n'
        'printf "#!/bin/sh\\necho new\\n" > .venv/bin/task'
    )
    program(checkout / "bin/python3", make)
    program(checkout / ".venv/bin/python", "exit 0")
    result = run(checkout)
    assert (result.returncode, result.stdout) == (0, "new\n"), result.stderr
    assert (checkout / ".venv/installed.txt").read_text() == "# nothing\n"
