"""Jars: whole and right, or a sentence that says why not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from local.engines.engine import EngineError
from local.engines.kafka import JARS, VERSION
from local.engines.maven import Jar, cache_folder, class_path, read_list

CONTENT = b"a jar"
JAR = Jar("org.example:thing:1.0", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_every_jar_of_kafka_is_pinned_once_with_size_and_checksum() -> None:
    jars = read_list(JARS)
    assert len({jar.coordinates for jar in jars}) == len({jar.name for jar in jars}) == len(jars) > 40
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in jars)
    assert f"org.apache.kafka:kafka-clients:{VERSION}" in {jar.coordinates for jar in jars}


def test_what_is_there_already_is_not_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / JAR.name).write_bytes(CONTENT)
    assert class_path([JAR], tmp_path, "a thing") == str(tmp_path / "thing-1.0.jar")


def _served(monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    """Lets the download find this, or nothing, without asking anybody."""
    from jgo.maven import PythonResolver  # noqa: PLC0415 - it is slow to import, and only these tests need it

    def download(self: object, artifact: object) -> Path:
        if content is None:
            raise RuntimeError("not found")
        path: Path = artifact.cached_path  # type: ignore[attr-defined]
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    monkeypatch.setattr(PythonResolver, "download", download)


def test_a_download_that_was_cut_off_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / JAR.name).write_bytes(CONTENT[:2])
    _served(monkeypatch, CONTENT)
    class_path([JAR], tmp_path, "a thing")
    assert [path.name for path in tmp_path.iterdir()] == [JAR.name]
    assert (tmp_path / JAR.name).read_bytes() == CONTENT


def test_a_file_that_is_not_the_pinned_one_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _served(monkeypatch, b"evil!")
    with pytest.raises(EngineError, match=r"org\.example:thing:1\.0 was downloaded, but .* SHA-256 differs"):
        class_path([JAR], tmp_path, "a thing")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _served(monkeypatch, None)
    with pytest.raises(EngineError, match=r"org\.example:thing:1\.0 could not be downloaded: not found"):
        class_path([JAR], tmp_path, "a thing")


def test_downloads_are_kept_where_the_user_keeps_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "codebank"
