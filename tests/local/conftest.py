"""Parts of the platform, made small."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from local import kinds
from local.cluster import base_environment
from local.console import Console
from local.service import Service

ServiceMaker = Callable[..., Awaitable[Service]]


@pytest.fixture
def output() -> io.StringIO:
    """What the console wrote."""
    return io.StringIO()


@pytest.fixture
def console(output: io.StringIO) -> Console:
    """A console that is no terminal."""
    return Console(output)


def toy_manifest(*, concurrency: int = 0, annotations: dict[str, str] | None = None) -> kinds.Service:
    """The ksvc of the toy."""
    return kinds.Service.model_validate(
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "toy"},
            "spec": {
                "template": {
                    "metadata": {
                        "annotations": {f"autoscaling.knative.dev/{k}": v for k, v in (annotations or {}).items()}
                    },
                    "spec": {
                        "containerConcurrency": concurrency,
                        "containers": [{"image": "toy", "command": ["python", "-m", "tests.local.toy"]}],
                    },
                }
            },
        }
    )


@pytest.fixture
async def make_service(console: Console) -> AsyncIterator[ServiceMaker]:
    """Makes a running toy service; all are stopped at the end."""
    made: list[Service] = []

    async def make(*, start: bool = True, environment: dict[str, str] | None = None, **manifest: object) -> Service:
        service = Service(
            toy_manifest(**manifest),  # type: ignore[arg-type]
            lambda: base_environment() | (environment or {}),
            console,
        )
        made.append(service)
        if start:
            await service.start()
        return service

    yield make
    for service in made:
        await service.stop()
