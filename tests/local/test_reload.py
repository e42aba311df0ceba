"""A change in the code replaces the instances that run it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from local import kinds
from local.console import Console
from local.process import ROOT
from local.reload import PACKAGES, affected, reload
from local.secret import read_recipes
from local.system import System
from tests.local.conftest import ServiceMaker, toy_manifest
from tests.waiting import until


@pytest.mark.parametrize(
    ("changed", "included", "excluded"),
    [
        ("functions/store/checkout.py", {"checkout", "bank", "post"}, {"store-frontend"}),
        ("protos/codebank/bank/v1/bank_pb2.py", {"checkout", "bank"}, {"statement-frontend"}),
        ("frontends/store/app.js", {"store-frontend", "statement-frontend"}, {"checkout", "bank"}),
    ],
)
def test_what_runs_the_changed_package_is_affected(changed: str, included: set[str], excluded: set[str]) -> None:
    services = System.read(ROOT, read_recipes()).all(kinds.Service)
    found = set(affected([ROOT / changed], ROOT, services))
    assert included <= found
    assert not excluded & found


@pytest.mark.anyio
async def test_a_saved_file_replaces_the_instance(
    tmp_path: Path, make_service: ServiceMaker, console: Console, output: io.StringIO
) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
    service = await make_service()
    manifest = toy_manifest()
    manifest.container.command[:] = ["python", "-m", "functions.toy"]
    old = service.instances[0].process.pid
    watching = asyncio.create_task(reload(tmp_path, {"toy": service}, {"toy": manifest}, console))
    saved = 0

    def replaced() -> bool:
        nonlocal saved
        if saved % 50 == 0:  # The watcher says nothing when it begins; so the file is saved until it is noticed.
            (tmp_path / "functions/toy.py").write_text(f"# {saved}")
        saved += 1
        return "is replaced" in output.getvalue() and all(each.process.pid != old for each in service.instances)

    await until(replaced, "the old instance is gone")
    watching.cancel()
    await asyncio.wait([watching])
    assert service.instances
