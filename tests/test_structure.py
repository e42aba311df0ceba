"""The house rules that a test can hold: which room imports which, what lies where, what is never named."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWNERS = ("store", "bank", "statement", "analytics", "operations")
STEP_LINES_MAX = 80
FORBIDDEN_NAMES = re.compile(r"(utils?|helpers?|managers?|common|misc)\.py")


def tracked() -> list[Path]:
    """The files of the project: what git has or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def modules(folder: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / folder)]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importing(folder: str, *prefixes: str) -> list[str]:
    """Which modules of the folder import something that begins so."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(folder)
        for name in imports(path)
        if any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)
    ]


def steps() -> dict[str, Path]:
    """The files that manifests name: each is a step."""
    found = {}
    for manifest in (ROOT / "knative/base").glob("*.yaml"):
        for source in re.findall(r"FUNCTION_SOURCE, value: (\S+?)}", manifest.read_text()):
            found[Path(source).stem] = ROOT / source
    found["bank"] = ROOT / "functions/bank/bank.py"
    return found


def test_the_domain_imports_no_framework_no_driver_and_nobody_else() -> None:
    foreign = (
        "functions.runtime",
        "local",
        "frontends",
        "starlette",
        "sqlalchemy",
        "sqlmodel",
        "asyncpg",
        "grpc",
        "httpx",
    )
    assert importing("functions/domain", *foreign, "functions_framework", "cloudevents", "alembic") == []
    assert importing("functions/domain", *(f"functions.{owner}" for owner in OWNERS)) == []


def test_the_runtime_imports_no_owner() -> None:
    assert importing("functions/runtime", *(f"functions.{owner}" for owner in OWNERS)) == []


@pytest.mark.parametrize("owner", OWNERS)
def test_an_owner_imports_no_other_owner(owner: str) -> None:
    assert importing(f"functions/{owner}", *(f"functions.{other}" for other in OWNERS if other != owner)) == []


def test_functions_and_frontends_do_not_know_the_laptop() -> None:
    assert importing("functions", "local", "frontends", "tests") == []
    assert importing("frontends", "local", "tests", *(f"functions.{owner}" for owner in OWNERS)) == []


def test_the_laptop_knows_no_owner() -> None:
    assert importing("local", "tests", "frontends", *(f"functions.{owner}" for owner in OWNERS)) == []


def test_nothing_imports_a_step() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in steps().values()]
    for folder in ("functions", "frontends", "local"):
        assert importing(folder, *names) == []


def test_each_step_is_small_and_its_target_is_defined_in_it() -> None:
    assert {"catalog", "checkout", "settle", "expire", "bank", "relay", "post", "statement"} <= steps().keys()
    for name, path in steps().items():
        source = path.read_text()
        assert len(source.splitlines()) <= STEP_LINES_MAX, path
        assert name == "bank" or re.search(rf"^(async def {name}\(|{name} = )", source, re.MULTILINE), path


def test_one_module_imports_the_cloudevents_sdk() -> None:
    assert {line.split()[0] for line in importing("functions", "cloudevents")} == {"functions/runtime/event.py"}


def test_modules_are_nouns() -> None:
    assert [path for path in tracked() if FORBIDDEN_NAMES.fullmatch(path.name)] == []


def test_every_module_says_what_it_is() -> None:
    for folder in ("functions", "frontends", "local"):
        for path in modules(folder):
            if path.read_text().strip() and "_pb2" not in path.name:
                assert ast.get_docstring(ast.parse(path.read_text())), path


def test_requirements_are_pinned_by_hash_and_name_no_index() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        entries = re.findall(r"^[a-z0-9]\S*==\S+", text, re.MULTILINE)
        assert len(entries) > 20
        assert text.count("--hash=sha256:") >= len(entries)
        assert not re.search(r"^\s*(--index-url|--extra-index-url|-i|--find-links)\b", text, re.MULTILINE)
        assert "://" not in text
