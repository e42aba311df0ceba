"""An owner's schema: made by its migrations, and whether its models say the same."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from anyio.from_thread import start_blocking_portal
from sqlalchemy import Connection
from sqlmodel import SQLModel

from functions.runtime.database import Database
from functions.runtime.migrate import migrate
from local.engines.postgresql import PostgreSQL


async def differences(database: Database, tables: set[str]) -> list[object]:
    """What alembic would change in the database so that these tables are as their models."""

    def compare(connection: Connection) -> list[object]:
        def is_ours(name: str | None, kind: str, parents: object) -> bool:
            return kind != "table" or name in tables

        def is_of_ours(thing: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
            return is_ours(name, kind, other)

        context = MigrationContext.configure(connection, opts={"include_name": is_ours, "include_object": is_of_ours})
        return list(compare_metadata(context, SQLModel.metadata))

    async with database.engine.connect() as connection:
        return await connection.run_sync(compare)


def migrated(owner: str, postgresql: PostgreSQL) -> str:
    """Makes a database with the owner's schema; answers its address."""

    async def make() -> str:
        url = await postgresql.ensure_database(f"{owner}_of_the_session", "test")
        database = Database(url)
        await migrate(owner, database)
        await database.close()
        return url

    with start_blocking_portal() as portal:
        return portal.call(make)
