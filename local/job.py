"""Jobs: run to their end before the services start, those of a lower sync wave before those of a higher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Final

from local import kinds
from local.console import Console
from local.process import Process

BACKOFF_SECONDS: Final = 0.5


class JobFailed(Exception):
    """A Job failed as often as its backoffLimit allows."""


async def run_jobs(
    jobs: Iterable[kinds.Job],
    environment: Callable[[kinds.Container, list[kinds.Volume]], Mapping[str, str]],
    console: Console,
) -> None:
    """Runs all jobs, a wave after the other. Raises JobFailed."""
    ordered = sorted(jobs, key=lambda job: job.wave)
    for _, wave in groupby(ordered, key=lambda job: job.wave):
        await asyncio.gather(*(_run(job, environment, console) for job in wave))


async def _run(
    job: kinds.Job, environment: Callable[[kinds.Container, list[kinds.Volume]], Mapping[str, str]], console: Console
) -> None:
    pod = job.spec.template.spec
    for container in [*pod.initContainers, *pod.containers]:
        for attempt in range(job.spec.backoffLimit + 1):
            process = await Process.start(
                job.name, [*container.command, *container.args], environment(container, pod.volumes), console
            )
            status = await process.exited()
            if status == 0:
                break
            await asyncio.sleep(BACKOFF_SECONDS * 2**attempt)
        else:
            raise JobFailed(f"the job {job.name} ended with status {status}:\n{process.output()}")
