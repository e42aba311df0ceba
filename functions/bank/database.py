"""The bank's way to PostgreSQL: a pool of driver connections for the statements of the hot path.

The other steps go by SQLAlchemy (functions/runtime/database.py); here each microsecond is paid once a payment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from functions.domain.error import Unavailable
from functions.runtime import settings
from functions.runtime.database import AWAY_STATES, CONNECT_TIMEOUT_SECONDS, STATEMENT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection

POOL_CONNECTIONS_DEFAULT: Final = 8
ACQUIRE_TIMEOUT_SECONDS: Final = 5.0
COMMAND_TIMEOUT_SECONDS: Final = STATEMENT_TIMEOUT_SECONDS + 2.0
"""The server gives up first, and says why; this is for a server that vanished."""

IDLE_TRANSACTION_SECONDS_MAX: Final = 10
"""A bank that froze in the middle of a batch does not keep its cards locked for longer."""

SERVER_SETTINGS: Final = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_SECONDS_MAX}s",
    "timezone": "UTC",
    # Sessions hold locks of the outbox; one whose process vanished without a word ends within half a minute.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # Every statement of the bank looks a few rows up by index. While a table grows fast its statistics are behind, and
    # the planner would read all of what it believes to be small.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}


_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # A connection that was cut in the middle of an operation.
    asyncpg.PostgresConnectionError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


@contextmanager
def away_is_unavailable() -> Iterator[None]:
    """Says every way in which a database can be away in one word: Unavailable."""
    try:
        yield
    except _AWAY as error:
        raise Unavailable("the database does not answer") from error
    except asyncpg.PostgresError as error:
        if str(error.sqlstate).startswith(AWAY_STATES):
            raise Unavailable("the database does not answer") from error
        raise


class Database:
    """The bank's database. Connections are made on first use, so that the bank can start before its database."""

    def __init__(self, url: str, pool_connections: int) -> None:
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=pool_connections,
            max_inactive_connection_lifetime=60,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            reset=_keep_session,
            server_settings={**SERVER_SETTINGS, "application_name": settings.text("K_SERVICE", "bank")},
        )
        self._url = url

    @classmethod
    def of_settings(cls) -> Database:
        """The database at BANK_DATABASE_URL."""
        pool_connections = settings.integer(
            "DATABASE_POOL_CONNECTIONS", POOL_CONNECTIONS_DEFAULT, minimum=2, maximum=100
        )
        return cls(settings.text("BANK_DATABASE_URL"), pool_connections)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, each statement its own transaction. Raises Unavailable where the database is away."""
        with away_is_unavailable():
            await self._pool
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that commits at the end of the block, or rolls back where the block raises."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Ends the connections."""
        await self._pool.close()


async def _keep_session(connection: Connection) -> None:
    """Sessions are all alike and leave nothing behind: resetting them would cost a round trip each time."""
