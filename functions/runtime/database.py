"""PostgreSQL: one pool a process, short transactions, and a database that is away said as Unavailable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from functions.domain.error import Busy, Unavailable
from functions.runtime import settings

POOL_CONNECTIONS_DEFAULT: Final = 5
CONNECT_TIMEOUT_SECONDS: Final = 5.0
STATEMENT_TIMEOUT_SECONDS: Final = 10
POOL_TIMEOUT_SECONDS: Final = 5.0

# Raised while the server starts, stops, fails over or is out of connections, memory or disk (PostgreSQL, appendix A).
AWAY_STATES: Final = ("08", "53", "57P", "58", "25006")


def asyncpg_url(url: str) -> str:
    """The address with the driver that codebank uses; operators write plain postgresql://."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgres", "postgresql"):
        return f"postgresql+asyncpg://{rest}"
    if scheme == "postgresql+asyncpg":
        return url
    raise settings.SettingError(f"a database address begins with postgresql://, not {scheme}://")


class Database:
    """One owner's database."""

    def __init__(self, url: str, *, pool_connections: int | None = None) -> None:
        self.engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            pool_size=pool_connections
            or settings.integer("DATABASE_POOL_CONNECTIONS", POOL_CONNECTIONS_DEFAULT, minimum=1, maximum=100),
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            connect_args={
                "timeout": CONNECT_TIMEOUT_SECONDS,
                "server_settings": {
                    "application_name": settings.text("K_SERVICE", "codebank"),
                    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
                    "timezone": "UTC",
                },
            },
        )

    @classmethod
    def of(cls, owner: str) -> Database:
        """The owner's database, by its <OWNER>_DATABASE_URL."""
        return cls(settings.text(f"{owner.upper()}_DATABASE_URL"))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that commits at the end of the block, and rolls back where the block raises.

        Raises Unavailable where the database is away; a commit whose answer was lost may then have happened, so what
        runs here can be repeated.
        """
        with _away_is_unavailable():
            async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
                yield session

    async def close(self) -> None:
        """Ends the connections."""
        await self.engine.dispose()


@contextmanager
def _away_is_unavailable() -> Iterator[None]:
    """Says every way in which a database can be away in one word."""
    try:
        yield
    except PoolTimeoutError as error:
        raise Busy("all connections to the database are in use") from error
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise Unavailable("the database does not answer") from error
    except DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        stateless = not state and isinstance(error, (InterfaceError, OperationalError))
        if error.connection_invalidated or state.startswith(AWAY_STATES) or stateless:
            raise Unavailable("the database does not answer") from error
        raise
