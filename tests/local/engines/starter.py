"""Starts a broker, says its process id, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from local.engines.engine import EngineError
from local.engines.kafka import Kafka


async def _start(folder: Path) -> None:
    kafka = Kafka(folder, lambda line: print(line, file=sys.stderr))
    try:
        await kafka.start()
    except EngineError as error:
        print(error, flush=True)
        return
    print(kafka.brokers[0].pid, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_start(Path(sys.argv[1])))
