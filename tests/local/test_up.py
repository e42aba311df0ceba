"""./task up tells a person what is wrong in a sentence."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local.process import ROOT
from tests.running import RunningSystem


def up(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", "up", "--no-reload"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "CODEBANK_DATA": str(folder), "CODEBANK_PORT": "0", "CODEBANK_BANK_PORT": "0"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("variable", ["CODEBANK_PORT", "CODEBANK_BANK_PORT"])
def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = up(tmp_path / "var", **{variable: str(port)})
    assert result.returncode == 1
    assert f"port {port} is in use" in result.stderr
    assert variable in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    result = up(tmp_path / "var", CODEBANK_PORT="eighty")
    assert (result.returncode, result.stderr) == (1, "codebank: CODEBANK_PORT is 'eighty', not a whole number\n")


@pytest.mark.parametrize("command", ["status", "demo"])
def test_a_command_that_needs_a_running_system_says_how_to_start_one(tmp_path: Path, command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "local", command],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "CODEBANK_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "start it with ./task up" in result.stderr


@pytest.mark.system
def test_a_second_system_on_the_same_folder_is_refused(system: RunningSystem) -> None:
    result = up(system.folder.path)
    assert result.returncode == 1
    assert f"is in use by process {system.pid}" in result.stderr


@pytest.mark.system
def test_status_shows_services_sources_and_topics(system: RunningSystem) -> None:
    shown = system.run("status").stdout
    for word in ("checkout", "codebank-settle", "lag", "dead letters", "transactions.dead-letter", system.url):
        assert word in shown


@pytest.mark.system
def test_a_command_runs_in_the_environment_of_a_service(system: RunningSystem) -> None:
    result = system.run("exec", "checkout", "--", "python", "-c", "import os; print(os.environ['BANK_ADDRESS'])")
    assert result.stdout.strip() == system.state.bank_address
    unknown = system.run("exec", "nothing", "--", "env")
    assert (unknown.returncode, "no service or job nothing" in unknown.stderr) == (1, True)
