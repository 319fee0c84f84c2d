"""The audit log: who changed what, when, from where. Appended to, never changed."""

import getpass
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from connectors.postgres.queries import load_queries

_SQL = load_queries("audit")


def record_operation(
    conn: Connection[Any],
    tenant_id: str,
    action: str,
    target: str | None = None,
    **details: object,
) -> None:
    """Write down what an operator does at the command line.

    Args:
        conn: The transaction the change itself is in.
        tenant_id: Whose log it stands in.
        action: Past tense, such as `key_revoked`.
        target: The id of what was changed.
        details: What else is worth knowing; never a secret.
    """
    conn.execute(
        _SQL["record_audit"],
        {
            "tenant_id": tenant_id,
            "actor": f"operator:{_login_name()}",
            "action": action,
            "target": target,
            "details": Jsonb(details),
            "address": None,
            "trace_id": None,
        },
    )


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return "unknown"
