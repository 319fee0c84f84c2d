"""Leases: of several processes that could do a thing, one does it and the others stand by.

A lease coordinates, it protects nothing: a holder that lost it without noticing is stopped by the
fences of its streams. Time is the database's.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog
from psycopg import Connection

from connectors.postgres.connections import WaitInterrupted
from connectors.postgres.queries import load_queries

log = structlog.get_logger(__name__)

_SQL = load_queries("lease")
STANDBY_SEEN_WITHIN_SECONDS = 30.0
_LOG_EVERY_SECONDS = 30.0


class LeaseState(msgspec.Struct, frozen=True):
    """Who holds a lease and who waits for it. `remaining_seconds` below 0: it has run out."""

    holder: str | None
    acquired_at: datetime | None
    remaining_seconds: float
    standbys: list[str]


def acquire(conn: Connection[Any], name: str, holder: str, seconds: float) -> bool:
    """Take a lease that is free, has run out or is ours; otherwise be seen as a standby.

    Args:
        conn: A connection of role settler_flow or settler_projections.
        name: Which lease.
        holder: Unique to this process, such as host, process id and a random part.
        seconds: How long it holds without `renew`.
    """
    asked = {"name": name, "holder": holder, "seconds": seconds}
    with conn.transaction():
        taken = conn.execute(_SQL["acquire"], asked).rowcount == 1
        conn.execute(_SQL["stop_standing_by" if taken else "stand_by"], asked)
    return taken


def renew(conn: Connection[Any], name: str, holder: str, seconds: float) -> bool:
    """Hold a lease for longer; False means that another process has it."""
    asked = {"name": name, "holder": holder, "seconds": seconds}
    return conn.execute(_SQL["renew"], asked).rowcount == 1


def release(conn: Connection[Any], name: str, holder: str) -> None:
    """Give a lease up, so that a standby takes over at once; not ours: changes nothing."""
    asked = {"name": name, "holder": holder}
    with conn.transaction():
        conn.execute(_SQL["release"], asked)
        conn.execute(_SQL["stop_standing_by"], asked)


def read_lease(conn: Connection[Any], name: str) -> LeaseState:
    """Say who holds a lease and who was seen waiting for it within the last half minute."""
    asked = {"name": name, "seen_within_seconds": STANDBY_SEEN_WITHIN_SECONDS}
    row = conn.execute(_SQL["read_lease"], asked).fetchone()
    standbys = [holder for (holder,) in conn.execute(_SQL["read_standbys"], asked)]
    holder, acquired_at, remaining = row or (None, None, 0.0)
    return LeaseState(holder, acquired_at, remaining, standbys)


def wait_for_lease(
    conn: Connection[Any],
    name: str,
    holder: str,
    seconds: float,
    wait: Callable[[float], object],
) -> None:
    """Stand by until the lease is ours, saying so in the log now and then.

    Args:
        conn: A connection of role settler_flow or settler_projections.
        name: Which lease.
        holder: Unique to this process.
        seconds: How long it holds without `renew`.
        wait: Waits that many seconds and returns something true to give up, as
            `threading.Event.wait` does.

    Raises:
        WaitInterrupted: `wait` said to give up; we no longer stand by.
        psycopg.OperationalError: The connection failed; connect and wait again.
    """
    # A quarter of the lease: a standby takes over that much after it has run out, at the latest.
    pause = min(max(seconds / 4, 0.05), 5.0)
    waited = 0.0
    next_log = 0.0
    while not acquire(conn, name, holder, seconds):
        if waited >= next_log:
            state = read_lease(conn, name)
            log.info(
                "lease.standby",
                lease=name,
                held_by=state.holder,
                remaining_seconds=round(state.remaining_seconds, 1),
            )
            next_log = waited + _LOG_EVERY_SECONDS
        if wait(pause):
            release(conn, name, holder)
            raise WaitInterrupted(f"told to stop while waiting for the lease {name}")
        waited += pause
    log.info("lease.acquired", lease=name, holder=holder)
