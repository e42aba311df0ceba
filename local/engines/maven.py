"""Jars from Maven Central, by a list that pins each one's coordinates, size and SHA-256.

They are kept outside the checkout, in the user's cache folder (XDG Base Directory Specification), one folder a list: so
a second checkout, or a removed var/, downloads nothing again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Never

from tqdm import tqdm

from local.engines.engine import EngineError

DOWNLOADS_AT_ONCE: Final = 4
TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True)
class Jar:
    """One line of a list: group:artifact:version, bytes, SHA-256 in hexadecimal."""

    coordinates: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name, as Maven has it."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def read_list(path: Path) -> list[Jar]:
    """The jars that a list pins."""
    rows = [line.split() for line in path.read_text().splitlines() if line]
    return [Jar(coordinates, int(size), sha256) for coordinates, size, sha256 in rows]


def cache_folder() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/codebank, or ~/.cache/codebank."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codebank"


def class_path(jars: list[Jar], folder: Path, what: str) -> str:
    """A Java class path of these jars, downloaded into the folder where they are not there yet.

    Shows a progress bar on a terminal. Raises EngineError where one cannot be had, or is not the one that is pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not _is_whole(folder / jar.name, jar)]
    if missing:
        _download(missing, folder, what)
    return os.pathsep.join(str(folder / jar.name) for jar in jars)


def _is_whole(path: Path, jar: Jar) -> bool:
    # A file gets its name only after its checksum was right, so later a look at its size is enough.
    try:
        return path.stat().st_size == jar.size
    except FileNotFoundError:
        return False


def _download(jars: list[Jar], folder: Path, what: str) -> None:
    if find_spec("jgo") is None:
        raise EngineError(f"{what} is downloaded by the package jgo, which is not installed")
    title = f"downloading {what}"
    size = sum(jar.size for jar in jars)
    with (
        tqdm(total=size, desc=title, unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar,
        TemporaryDirectory(dir=folder, prefix=".download-") as drafts,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
    ):

        def one(jar: Jar) -> None:
            _fetch(jar, Path(drafts), folder, lambda size: _grow(bar, size))

        for _ in pool.map(one, jars):
            pass


def _fetch(jar: Jar, drafts: Path, folder: Path, progress: Callable[[int], None]) -> None:
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - it is a third of a second, paid on need only

    @contextlib.contextmanager
    def shown(name: str, size: int) -> Iterator[Callable[[int], None]]:
        yield progress

    callback: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = shown
    context = MavenContext(PythonResolver(progress_callback=callback), repo_cache=drafts, timeout=TIMEOUT_SECONDS)
    group, artifact, version = jar.coordinates.split(":")
    try:
        path = Path(context.project(group, artifact).at_version(version).artifact().resolve())
    except (OSError, RuntimeError) as error:  # What requests raises is an OSError.
        raise EngineError(f"{jar.coordinates} could not be downloaded: {error}") from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
        raise EngineError(
            f"{jar.coordinates} was downloaded, but it is not the file that is pinned: its SHA-256 differs"
        )
    draft = folder / f".{jar.name}.{secrets.token_hex(4)}"
    path.replace(draft)
    draft.replace(folder / jar.name)


def _grow(bar: tqdm[Never], size: int) -> None:
    bar.update(size)
