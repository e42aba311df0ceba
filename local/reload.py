"""Replaces the instances of what a developer changes, while the system runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from watchfiles import PythonFilter, awatch

from local import kinds
from local.console import Console
from local.service import Service

PACKAGES: Final = ("functions", "frontends", "protos")


def affected(changed: Iterable[Path], root: Path, services: Mapping[str, kinds.Service]) -> list[str]:
    """The services whose command runs a package in which something changed; functions/ uses protos/."""
    packages = {path.relative_to(root).parts[0] for path in changed}
    if "protos" in packages:
        packages.add("functions")
    return [
        name
        for name, manifest in services.items()
        if any(part.partition(".")[0] in packages for part in manifest.container.command)
    ]


async def reload(
    root: Path, services: Mapping[str, Service], manifests: Mapping[str, kinds.Service], console: Console
) -> None:
    """Watches until cancelled. A change that does not start leaves the old instances as they are."""
    extensions = (".html", ".css", ".js", ".svg", ".proto")
    watched = [root / package for package in PACKAGES]
    async for changes in awatch(*watched, watch_filter=PythonFilter(extra_extensions=extensions)):
        for name in affected((Path(path) for _, path in changes), root, manifests):
            console.say(f"{name} is replaced: its code has changed")
            await services[name].roll()
