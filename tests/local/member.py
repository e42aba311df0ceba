"""A member of a group in a process of its own, to be killed: reads, commits nothing, says that it has read."""

from __future__ import annotations

import asyncio
import sys

from local.log.embedded import EmbeddedLog
from local.log.kafka import KafkaLog
from local.log.kafka_client import KafkaAddress


async def _read(engine: str, where: str, group: str, topic: str) -> None:
    opened = EmbeddedLog.open(where) if engine == "embedded" else KafkaLog.open(KafkaAddress((where,)))
    async with opened as log:
        subscription = await log.subscribe(group, topic, "earliest")
        while True:
            if await subscription.poll(frozenset()):
                print("read and not committed", flush=True)


if __name__ == "__main__":
    asyncio.run(_read(*sys.argv[1:5]))
