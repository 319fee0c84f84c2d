"""Connections: who we are to the database, how long we wait for it, when we give up on silence.

Every connection acts as one of the roles of `migrations.ROLES` by `SET ROLE`, whatever user logs
in: one URL serves a laptop, and a login user per role, granted that role alone, serves production
(`GRANT settler_flow TO flow_login`), where it can then act as no other.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import psycopg
import structlog
from psycopg import Connection, sql
from psycopg import errors as pg_errors

from connectors.postgres.errors import NotReady, RoleUnavailable, StoreError
from connectors.postgres.migrations import check_migrated

log = structlog.get_logger(__name__)

Role = Literal["flow", "projections", "api", "operator"]
T = TypeVar("T")

# Together they notice within about 11 s that the other side has gone without a word.
KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
DELAY_FIRST_SECONDS = 0.1
DELAY_MAX_SECONDS = 5.0


class Limits(NamedTuple):
    """Milliseconds after which the server ends a statement, a wait for a lock, an idle transaction.

    The last one frees the locks of a process whose machine went away in mid-transaction: the head
    of the log is among them, and everyone waits for that.
    """

    statement: int
    lock: int
    idle_in_transaction: int


LIMITS: dict[Role, Limits] = {
    "flow": Limits(60_000, 15_000, 10_000),
    "projections": Limits(300_000, 30_000, 60_000),
    "api": Limits(10_000, 5_000, 10_000),
    "operator": Limits(0, 30_000, 60_000),
}

# What a lost, restarting, failing over or overloaded server answers. All of it may pass, and none
# of it says that a statement was wrong.
TRANSIENT: tuple[type[Exception], ...] = (
    psycopg.OperationalError,
    pg_errors.ReadOnlySqlTransaction,
    pg_errors.IdleInTransactionSessionTimeout,
    NotReady,
)


class DatabaseSettings(Protocol):
    """The settings connections are made from."""

    @property
    def database_url(self) -> str:
        """URL of the owner and of operators."""

    @property
    def database_url_flow(self) -> str:
        """URL of the flow."""

    @property
    def database_url_projections(self) -> str:
        """URL of the projections and of publishing."""

    @property
    def database_url_api(self) -> str:
        """URL of the API."""


class WaitInterrupted(StoreError):
    """The process was told to stop while it waited for the database."""

    code = "store.wait_interrupted"


def url_of(settings: DatabaseSettings, role: Role) -> str:
    """Return the URL a role logs in with; operators use the owner's."""
    urls = {
        "flow": settings.database_url_flow,
        "projections": settings.database_url_projections,
        "api": settings.database_url_api,
        "operator": settings.database_url,
    }
    return urls[role]


def connect(url: str, role: Role, application_name: str | None = None) -> Connection[Any]:
    """Connect once, in autocommit, acting as a role; transactions are opened explicitly.

    Args:
        url: A libpq URL or connection string.
        role: Whose rights and limits the session has.
        application_name: Shown in pg_stat_activity; None means `settler-{role}`.

    Raises:
        psycopg.OperationalError: The database does not answer or does not let us in.
        RoleUnavailable: The role does not exist, or the login user is not a member.
    """
    conn = psycopg.connect(
        url,
        autocommit=True,
        application_name=application_name or f"settler-{role}",
        **KEEPALIVE,
    )
    try:
        act_as(conn, role)
    except BaseException:
        conn.close()
        raise
    return conn


def connect_as_owner(url: str) -> Connection[Any]:
    """Connect once as the login user itself, without limits: for `migrations.migrate`."""
    return psycopg.connect(url, autocommit=True, application_name="settler-migrate", **KEEPALIVE)


def act_as(conn: Connection[Any], role: Role) -> None:
    """Take on the role and its limits for the rest of the session."""
    limits = LIMITS[role]
    name = f"settler_{role}"
    settings = sql.SQL(
        "SET ROLE {}; SET statement_timeout = {}; SET lock_timeout = {};"
        " SET idle_in_transaction_session_timeout = {}; SET timezone = 'UTC'"
    ).format(sql.Identifier(name), limits.statement, limits.lock, limits.idle_in_transaction)
    try:
        conn.execute(settings)
    except (pg_errors.InvalidParameterValue, pg_errors.InsufficientPrivilege) as exc:
        reason = exc.diag.message_primary or "refused"
        raise RoleUnavailable(name, conn.info.user, reason) from exc


@contextmanager
def acting_for(conn: Connection[Any], tenant_id: str) -> Iterator[None]:
    """Open a transaction that sees this tenant's rows and no other's."""
    with conn.transaction():
        conn.execute("SELECT set_config('settler.tenant_id', %s, true)", (tenant_id,))
        yield


def keep_trying(
    attempt: Callable[[], T], what: str, wait: Callable[[float], object] | None = None
) -> T:
    """Repeat an attempt until it works, for ever, with growing delays and a log line each time.

    Args:
        attempt: May fail with one of `TRANSIENT`; any other error goes through.
        what: Named in the log, such as "connect".
        wait: Waits that many seconds and returns something true to give up, as
            `threading.Event.wait` does.

    Raises:
        WaitInterrupted: `wait` said to give up.
    """
    wait = wait or threading.Event().wait
    delay = DELAY_FIRST_SECONDS
    attempts = 0
    while True:
        attempts += 1
        try:
            result = attempt()
        except TRANSIENT as exc:
            log.warning(
                "database.unavailable",
                doing=what,
                error=" ".join(str(exc).split()),
                attempt=attempts,
                retry_in_seconds=round(delay, 2),
            )
            if wait(delay):
                raise WaitInterrupted(f"told to stop while trying to {what}") from exc
            delay = min(delay * 2, DELAY_MAX_SECONDS)
        else:
            if attempts > 1:
                log.info("database.available", doing=what, attempts=attempts)
            return result


def connect_when_ready(
    url: str,
    role: Role,
    application_name: str | None = None,
    wait: Callable[[float], object] | None = None,
) -> Connection[Any]:
    """Connect as a role once the database answers, has the role and is migrated.

    Raises:
        WaitInterrupted: `wait` said to give up, see `keep_trying`.
    """

    def attempt() -> Connection[Any]:
        conn = connect(url, role, application_name)
        try:
            check_migrated(conn)
        except BaseException:
            conn.close()
            raise
        return conn

    return keep_trying(attempt, f"connect as settler_{role}", wait)
