"""Empty copies of read-model tables in a schema of their own, and switching them in.

The copies have the names of the live tables, so the SQL of the read models writes to either: the
connection's search path says to which.
"""

from collections.abc import Iterable
from typing import Any

from psycopg import Connection, sql

from projections.queries import load_queries

_SQL = load_queries("shadow")
SHADOW_SCHEMA = "settler_rebuild"


def live_schema(owner: Connection[Any]) -> str:
    """Return the schema the live tables stand in."""
    row = owner.execute(_SQL["live_schema"]).fetchone()
    assert row is not None, "a function in SELECT gives a row"
    return str(row[0])


def try_lock(owner: Connection[Any]) -> bool:
    """Claim the schema of copies for this session; False when another session has it."""
    row = owner.execute(_SQL["try_lock"]).fetchone()
    return row is not None and bool(row[0])


def drop_copies(owner: Connection[Any], tables: Iterable[str]) -> None:
    """Drop what an earlier rebuild left."""
    for table in tables:
        owner.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_copy(table)))


def create_copies(owner: Connection[Any], schema: str, tables: Iterable[str]) -> None:
    """Create an empty copy of each table, alike down to the names of its indexes."""
    for table in tables:
        model = sql.Identifier(schema, table)
        owner.execute(
            sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES)").format(
                _copy(table), model
            )
        )
        asked = {"model": _qualified(owner, schema, table), "copy": _copy(table).as_string(owner)}
        for (statement,) in owner.execute(_SQL["describe_copy"], asked).fetchall():
            owner.execute(statement)


def write_to_copies(conn: Connection[Any], schema: str) -> None:
    """Let a connection write to the copies and read everything else where it is."""
    conn.execute(
        sql.SQL("SET search_path = {}, {}").format(
            sql.Identifier(SHADOW_SCHEMA), sql.Identifier(schema)
        )
    )


def analyze_copies(owner: Connection[Any], tables: Iterable[str]) -> None:
    """Gather statistics, so that the first queries after the switch are planned well."""
    for table in tables:
        owner.execute(sql.SQL("ANALYZE {}").format(_copy(table)))


def switch_in(owner: Connection[Any], schema: str, tables: Iterable[str]) -> None:
    """Put the copies in the place of the live tables, within the open database transaction.

    Raises:
        psycopg.errors.LockNotAvailable: Readers kept a table too long; try again.
    """
    owner.execute(_SQL["wait_briefly_for_readers"])
    ordered = sorted(tables)
    live = sql.SQL(", ").join(sql.Identifier(schema, table) for table in ordered)
    owner.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(live))
    owner.execute(sql.SQL("DROP TABLE {}").format(live))
    for table in ordered:
        owner.execute(
            sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(_copy(table), sql.Identifier(schema))
        )


def _copy(table: str) -> sql.Identifier:
    return sql.Identifier(SHADOW_SCHEMA, table)


def _qualified(owner: Connection[Any], schema: str, table: str) -> str:
    """Return the name as the server itself writes it in index definitions."""
    row = owner.execute("SELECT format('%%I.%%I', %s::text, %s::text)", (schema, table)).fetchone()
    assert row is not None, "a function in SELECT gives a row"
    return str(row[0])
