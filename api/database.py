"""The API's way to Postgres: a pool, one short transaction a request, one tenant a transaction.

Queries are named pieces of the `.sql` files in `api/sql`; each run is timed under its name.
"""

import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import msgspec
import structlog
from prometheus_client import Gauge, Histogram
from psycopg import AsyncClientCursor, AsyncConnection, sql
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

from api.auditing import CURRENT
from api.idempotency import CURRENT_GUARD, Guard, refuse_claimed
from connectors.postgres.connections import KEEPALIVE, LIMITS
from connectors.postgres.queries import load_queries as load_named
from connectors.postgres.queries import parse_queries

log = structlog.get_logger("settler.api.database")

# A request that waits longer than this for a connection is better told to come back: the pool is
# either exhausted or the database is away, and a queue of seconds helps neither.
POOL_WAIT_SECONDS = 2.0
CONNECTIONS_MAX = 10
# A connection that answered so lately is not asked whether it still does: that costs as much as a
# query. One that was cut in between costs a request its answer, with 503 and Retry-After.
FRESH_SECONDS = 1.0

SHARED_QUERIES = ("tenants", "users", "signing_keys", "audit")

QUERY_SECONDS = Histogram(
    "settler_api_query_seconds",
    "Time of one named query, from sending to the last row read.",
    ["query"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
POOL_CONNECTIONS = Gauge(
    "settler_api_pool_connections", "Database connections of the API's pool.", ["state"]
)
POOL_WAITING = Gauge("settler_api_pool_waiting", "Requests that wait for a connection.")


def load_queries() -> Mapping[str, bytes]:
    """Read the queries of all `api/sql/*.sql`, and those about access, shared with operators."""
    files = sorted(resources.files("api.sql").iterdir(), key=lambda entry: entry.name)
    texts = [file.read_text(encoding="utf-8") for file in files if file.name.endswith(".sql")]
    queries = parse_queries("\n".join(texts))
    for shared in SHARED_QUERIES:
        queries |= load_named(shared)
    return queries


QUERIES = load_queries()


SLOW_QUIET_SECONDS = 60.0
_TOLD_SLOW: dict[str, float] = {}


def _is_plain_read(query: bytes) -> bool:
    lines = [line for line in query.splitlines() if not line.startswith(b"--")]
    return lines[0].startswith((b"SELECT", b"WITH"))


_TENANT = "transaction_tenant_id"
_SET_AND_RUN = {
    name: b"SELECT set_config('settler.tenant_id', %(" + _TENANT.encode() + b")s, true);\n" + query
    for name, query in QUERIES.items()
}
_SET_TENANT = b"SELECT set_config('settler.tenant_id', %s, true)"


class PooledConnection(AsyncConnection[DictRow]):
    """A connection that remembers when it last answered, in monotonic seconds."""

    answered_at = -math.inf


async def _check(connection: PooledConnection) -> None:
    if time.monotonic() - connection.answered_at > FRESH_SECONDS:
        await AsyncConnectionPool.check_connection(connection)
        connection.answered_at = time.monotonic()


class Session:
    """One open transaction; `rows` and `row` run named queries in it.

    Attributes:
        tenant_id: Whose rows it sees; empty where it is nobody's in particular.
    """

    def __init__(
        self,
        connection: AsyncConnection[DictRow],
        tenant_id: str = "",
        slow_seconds: float = math.inf,
    ) -> None:
        self._connection = connection
        self._slow_seconds = slow_seconds
        self._last: tuple[str, Mapping[str, Any]] | None = None
        self.tenant_id = tenant_id

    async def rows(self, name: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        """Run the query `name` and give all its rows; none for a statement without an answer."""
        started = time.perf_counter()
        cursor = await self._connection.execute(QUERIES[name], parameters)
        rows = await cursor.fetchall() if cursor.description else []
        seconds = time.perf_counter() - started
        QUERY_SECONDS.labels(name).observe(seconds)
        if seconds > self._slow_seconds:
            await self._tell_slow(name, parameters, seconds)
        return rows

    async def _tell_slow(self, name: str, parameters: Mapping[str, Any], seconds: float) -> None:
        # The plan costs planning alone; still a database that is slow throughout is asked once
        # a minute for each query.
        now = time.monotonic()
        if now - _TOLD_SLOW.get(name, -math.inf) < SLOW_QUIET_SECONDS:
            return
        _TOLD_SLOW[name] = now
        plan = []
        if _is_plain_read(QUERIES[name]):
            cursor = await self._connection.execute(b"EXPLAIN " + QUERIES[name], parameters)
            plan = [str(line["QUERY PLAN"]) for line in await cursor.fetchall()]
        log.warning("slow query", query=name, duration_ms=round(seconds * 1000), plan=plan)

    async def only(self, name: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        """Run the query `name` and nothing else, in one round trip; see `Database.read`."""
        started = time.perf_counter()
        # Statements that go out in one message are one transaction, as if BEGIN stood before them.
        # A cursor that puts the values in by itself, escaped by libpq, can send such a message;
        # psycopg's pipelines need three times the CPU for the same.
        cursor = AsyncClientCursor(self._connection)
        await cursor.execute(_SET_AND_RUN[name], {**parameters, _TENANT: self.tenant_id})
        cursor.nextset()
        rows = await cursor.fetchall()
        seconds = time.perf_counter() - started
        QUERY_SECONDS.labels(name).observe(seconds)
        if seconds > self._slow_seconds:
            async with self._connection.transaction():
                await self._connection.execute(_SET_TENANT, (self.tenant_id,))
                await self._tell_slow(name, parameters, seconds)
        return rows

    async def row(self, name: str, parameters: Mapping[str, Any]) -> DictRow | None:
        """Run the query `name` and give its first row, or None."""
        rows = await self.rows(name, parameters)
        return rows[0] if rows else None

    def run_last(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Run the statement `name` right before the commit: it takes a lock that others wait for.

        It counts as no write by itself, for audit log and idempotency; something else has to be.
        """
        assert self._last is None, "one statement can be the last"
        self._last = (name, parameters)

    async def end(self) -> None:
        """Run what was to run last."""
        if self._last is not None:
            await self.rows(*self._last)

    @property
    def connection(self) -> AsyncConnection[DictRow]:
        """The connection itself, for code of other packages that brings its own SQL."""
        return self._connection


async def _claim(session: Session, guard: Guard) -> None:
    """Note that this transaction does what is asked under an Idempotency-Key.

    Raises:
        ApiError: `already_done` or `idempotency_conflict`, when another one did: this is undone.
    """
    claimed = await session.row("claim_idempotency_key", guard.parameters)
    assert claimed is not None, "it answers in any case"
    if claimed["is_untouched"]:
        return
    if claimed["is_claimed"]:
        # What the same request writes further on is its own.
        CURRENT_GUARD.set(None)
        return
    kept = await session.row("read_idempotency_key", guard.parameters)
    raise refuse_claimed(guard, bytes(kept["fingerprint"]) if kept else guard.fingerprint)


async def _assume_role(connection: AsyncConnection[DictRow]) -> None:
    # The URL may name a more powerful user (one URL for everything on a laptop); row-level
    # security binds only who runs as the API's role, so every connection becomes it.
    limits = LIMITS["api"]
    set_json_loads(msgspec.json.decode, connection)
    await connection.execute(
        sql.SQL(
            "SET ROLE settler_api; SET statement_timeout = {}; SET lock_timeout = {};"
            " SET idle_in_transaction_session_timeout = {}; SET timezone = 'UTC'"
        ).format(limits.statement, limits.lock, limits.idle_in_transaction)
    )


class Database:
    """The pool, under the API's role.

    Args:
        url: A libpq URL or connection string; its user must be `settler_api` or a member of it.
        connections_max: Of the pool.
        slow_seconds: A query that takes longer is logged with its plan.
    """

    def __init__(
        self,
        url: str,
        connections_max: int = CONNECTIONS_MAX,
        slow_seconds: float = math.inf,
    ) -> None:
        self._url = url
        self._slow_seconds = slow_seconds
        self._pool: AsyncConnectionPool[PooledConnection] = AsyncConnectionPool(
            url,
            connection_class=PooledConnection,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                # Filters are optional parameters: a plan made for all of them fits none.
                "prepare_threshold": None,
                "application_name": "settler-api",
                **KEEPALIVE,
            },
            min_size=1,
            max_size=connections_max,
            max_waiting=200,
            timeout=POOL_WAIT_SECONDS,
            reconnect_timeout=5.0,
            configure=_assume_role,
            check=_check,
            open=False,
        )

    async def open(self) -> None:
        """Start the pool; does not wait for the database, which may come later."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close(timeout=2.0)

    @asynccontextmanager
    async def tenant(self, tenant_id: str, *, snapshot: bool = False) -> AsyncIterator[Session]:
        """Open a transaction that sees and writes this tenant's rows only.

        Args:
            tenant_id: From the credential.
            snapshot: All queries see one state of the database; nothing can be written.

        Raises:
            PoolTimeout: No connection within `POOL_WAIT_SECONDS`.
            psycopg.OperationalError: The database went away.
        """
        guard = CURRENT_GUARD.get()
        try:
            async with self._pool.connection() as connection, connection.transaction():
                if snapshot:
                    await connection.execute(
                        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
                    )
                await connection.execute(_SET_TENANT, (tenant_id,))
                session = Session(connection, tenant_id, self._slow_seconds)
                yield session
                entry = CURRENT.get()
                if entry is not None and not snapshot:
                    await session.row("record_audit_if_written", entry.parameters(tenant_id))
                if guard is not None and not snapshot:
                    await _claim(session, guard)
                await session.end()
        except BaseException:
            # What was undone has claimed nothing: whoever tries again claims again.
            CURRENT_GUARD.set(guard)
            raise

    async def read(self, tenant_id: str, name: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        """Run one query that only reads, with the tenant set, in one round trip.

        Raises:
            PoolTimeout: No connection within `POOL_WAIT_SECONDS`.
            psycopg.OperationalError: The database went away.
        """
        async with self._pool.connection() as connection:
            rows = await Session(connection, tenant_id, self._slow_seconds).only(name, parameters)
            connection.answered_at = time.monotonic()
        return rows

    @asynccontextmanager
    async def anonymous(self) -> AsyncIterator[Session]:
        """Open a transaction of no tenant: it sees only what is nobody's in particular."""
        async with self._pool.connection() as connection, connection.transaction():
            yield Session(connection)

    async def listening_connection(self) -> AsyncConnection[DictRow]:
        """Connect outside the pool, for LISTEN; the caller closes it."""
        connection = await AsyncConnection.connect(
            self._url,
            autocommit=True,
            row_factory=dict_row,
            application_name="settler-api-listen",
            **KEEPALIVE,
        )
        await _assume_role(connection)
        return connection

    def measure(self) -> None:
        """Set the pool's gauges; called when metrics are read."""
        stats = self._pool.get_stats()
        total, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        POOL_CONNECTIONS.labels("idle").set(idle)
        POOL_CONNECTIONS.labels("busy").set(total - idle)
        POOL_WAITING.set(stats.get("requests_waiting", 0))
