"""The command line of the local system: `python -m local up|status|exec|demo`. ./task has a word for each."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from functions.runtime.settings import SettingError, integer
from local import dead_letters, demo, status
from local.console import Console
from local.engines.engine import EngineError
from local.folder import AlreadyRunning, Folder, NotRunning
from local.http_server import PortInUse
from local.job import JobFailed
from local.log.kafka_client import KafkaAddress
from local.log.port import LogUnavailable
from local.manifest import ManifestError
from local.process import container_command
from local.secret import SecretFailed
from local.service import StartFailed
from local.supervisor import Options, Supervisor

EXPECTED = (
    AlreadyRunning,
    EngineError,
    JobFailed,
    LogUnavailable,
    ManifestError,
    NotRunning,
    PortInUse,
    dead_letters.Refused,
    SecretFailed,
    SettingError,
    StartFailed,
)
"""What a person can mend: said in a sentence, without a traceback."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="codebank on one machine")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start everything; Ctrl-C stops it")
    up.add_argument("--no-reload", action="store_true", help="do not restart steps when their code changes")
    up.add_argument("--engines", action="store_true", help="start real engines: Kafka as the log")
    again = commands.add_parser("replay", help="let a source deliver again what it has delivered")
    again.add_argument("--source", required=True, help="the KafkaSource, such as post")
    start = again.add_mutually_exclusive_group(required=True)
    start.add_argument("--from-offset", type=int, help="from this offset of each partition; 0 is everything")
    start.add_argument("--from-time", help="from what came at this moment or later (RFC 3339, 2026-01-31T12:00:00Z)")
    dead_letters.add_arguments(commands.add_parser("dead-letters", help="what could not be delivered"))
    shown = commands.add_parser("status", help="services, sources and topics of the running system")
    shown.add_argument("--json", action="store_true", help="as JSON")
    run = commands.add_parser("exec", help="run a command in the environment of a service or job")
    run.add_argument("name")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    demo.add_arguments(commands.add_parser("demo", help="buy as shoppers would, and say how long it took"))
    return parser


async def _up(reload: bool, engines: bool) -> None:
    options = Options(
        port=integer("CODEBANK_PORT", 8080, minimum=0, maximum=65535),
        bank_port=integer("CODEBANK_BANK_PORT", 50052, minimum=0, maximum=65535),
        reload=reload,
        kafka=KafkaAddress.of_environment(),
        engines=engines,
    )
    folder = Folder.of_settings()
    with folder.locked():
        await Supervisor(folder, options, Console()).run()


def _exec(name: str, arguments: Sequence[str]) -> None:
    environment = status.environment_of(Folder.of_settings().read_state(), name)
    command = container_command(arguments[arguments[:1] == ["--"] :] or ["env"])
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is wanted


def main() -> int:
    """Runs one command; answers the exit status."""
    try:
        return _run(_parser().parse_args())
    except* EXPECTED as errors:
        print(f"codebank: {_first(errors)}", file=sys.stderr)
    return 1


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            asyncio.run(_up(not arguments.no_reload, arguments.engines))
        case "status":
            status.show(Folder.of_settings().read_state(), as_json=arguments.json)
        case "replay":
            offset, time = arguments.from_offset, arguments.from_time
            start = {"offset": offset} if time is None else {"time": time}
            events = status.rewind(Folder.of_settings().read_state(), arguments.source, start)
            print(f"{arguments.source} is given {events} events again; ./task status shows how far it is")
        case "exec":
            _exec(arguments.name, arguments.arguments)
        case "dead-letters":
            return dead_letters.run(Folder.of_settings(), arguments)
        case "demo":
            return asyncio.run(demo.run(Folder.of_settings().read_state(), arguments))
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
