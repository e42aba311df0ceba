"""Readiness probes, as a cluster makes them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import grpc.aio
import httpcore
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local.kinds import Probe

INTERVAL_SECONDS: Final = 0.05
"""Shorter than a cluster's second: a person waits for it."""


async def probe(port: int, definition: Probe | None) -> None:
    """Returns once the process on this port answers as its probe demands; without one, once it takes connections."""
    definition = definition or Probe()
    while True:
        with contextlib.suppress(
            OSError, TimeoutError, httpcore.NetworkError, httpcore.ProtocolError, grpc.aio.AioRpcError
        ):
            async with asyncio.timeout(definition.timeoutSeconds):
                if await _succeeds(port, definition):
                    return
        await asyncio.sleep(INTERVAL_SECONDS)


async def _succeeds(port: int, definition: Probe) -> bool:
    if definition.httpGet is not None:
        async with httpcore.AsyncConnectionPool() as pool:
            response = await pool.request("GET", f"http://127.0.0.1:{port}{definition.httpGet.path}")
            return 200 <= response.status < 400
    if definition.grpc is not None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            request = health_pb2.HealthCheckRequest(service=definition.grpc.service)
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(request)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return True
