"""Brings an owner's database to the newest schema: `python -m functions.runtime.migrate OWNER`.

A Job runs it before the steps start. It may run any number of times and at once: an advisory lock lets one through.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from functions.domain.identity import derived_id
from functions.runtime import log
from functions.runtime.database import Database

FUNCTIONS: Final = Path(__file__).resolve().parent.parent


def _upgrade(connection: Connection, owner: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(FUNCTIONS / owner / "migrations"))
    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(
        config, script, fn=lambda revision, _: script._upgrade_revs("head", revision)
    ) as environment:
        environment.configure(connection=connection, transaction_per_migration=False)
        with environment.begin_transaction():
            environment.run_migrations()


async def migrate(owner: str, database: Database) -> None:
    """Runs what the database has not seen of functions/<owner>/migrations/versions, in one transaction."""
    lock = int(derived_id("migration", owner)[:8], 16)
    async with database.engine.begin() as connection:
        await connection.execute(text("set local statement_timeout = 0"))
        await connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": lock})
        await connection.run_sync(_upgrade, owner)


async def _main(owner: str) -> None:
    database = Database.of(owner)
    try:
        await migrate(owner, database)
    finally:
        await database.close()


if __name__ == "__main__":
    log.configure()
    asyncio.run(_main(sys.argv[1]))
