"""bank: the card bank over gRPC. `python -m functions.bank.bank`, on HOST and PORT, plaintext HTTP/2 (h2c).

Serves codebank.bank.v1.Bank, the old payment.PaymentService unless BANK_LEGACY_PROTOCOL=off, health and reflection.
It is ready once its database answers and has the ledger's tables, and stays so: while the database is away afterwards,
calls are told UNAVAILABLE. SIGTERM drains: calls that were accepted finish, new ones are refused.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import uvloop

from functions.bank.database import Database
from functions.bank.keys import KeyFile, KeyFileError
from functions.bank.outbox import Outbox
from functions.bank.payments import Payments
from functions.bank.server import PORT_DEFAULT, Server
from functions.runtime import log, settings
from functions.runtime.sink import HttpSink


async def serve() -> None:
    """Runs the bank that the environment describes, until SIGTERM or SIGINT."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    keys = KeyFile(Path(settings.text("BANK_KEYS_FILE")))
    database = Database.of_settings()
    outbox = Outbox(database, HttpSink.bound())
    payments = Payments(database, keys, posted=outbox.wake)
    legacy = settings.text("BANK_LEGACY_PROTOCOL", "on") != "off"
    server = Server(database, keys, payments, legacy_protocol=legacy)
    host = settings.text("HOST", "0.0.0.0")  # noqa: S104 - a container is reached from outside of itself
    await server.start(host, settings.integer("PORT", PORT_DEFAULT, minimum=0, maximum=65535))
    working = asyncio.create_task(work(server, keys, outbox))
    ended = asyncio.create_task(told.wait())
    await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
    await server.drain()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await outbox.finish()
    await database.close()


async def work(server: Server, keys: KeyFile, outbox: Outbox) -> None:
    """What the bank does besides answering calls, for as long as the task lives."""
    async with asyncio.TaskGroup() as group:
        group.create_task(keys.watch())
        await server.ready()
        group.create_task(outbox.run())
        group.create_task(outbox.keep_measuring())


def main() -> None:
    """The process."""
    log.configure()
    try:
        uvloop.run(serve())
    except (KeyFileError, settings.SettingError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
