"""A frontend as a process: its settings, its port, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from local.process import ROOT

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(**settings: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "frontends.serve"],
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_serves_on_its_port_logs_no_request_and_ends_on_sigterm() -> None:
    port = free_port()
    with running(FRONTEND="statement", HOST="127.0.0.1", PORT=str(port)) as process:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/statement/", headers={"X-Mark": "seen"})
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert answer.status_code == 200
        assert "server" not in answer.headers
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=STOP_SECONDS_MAX)
        assert process.returncode in {0, -signal.SIGTERM}
        assert "GET" not in output


def test_an_unknown_frontend_is_refused_by_name() -> None:
    with running(FRONTEND="nonsense") as process:
        output, _ = process.communicate(timeout=START_SECONDS_MAX)
        assert process.returncode != 0
        assert "FRONTEND is 'nonsense', not one of store, statement" in output
