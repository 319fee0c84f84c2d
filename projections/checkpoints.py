"""How far each read model has come, moved in the database transaction that moves its rows."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from connectors.postgres.errors import CheckpointMoved
from projections.queries import load_queries

_SQL = load_queries("checkpoints")


def read(conn: Connection[Any], names: Sequence[str]) -> dict[str, int]:
    """Return the position of every name; one that has no checkpoint yet starts at 0."""
    asked = {"names": list(names)}
    conn.execute(_SQL["add_missing"], asked)
    return dict(conn.execute(_SQL["read_positions"], asked).fetchall())


def lock(conn: Connection[Any], names: Sequence[str]) -> dict[str, int]:
    """Return the positions and hold them still until the database transaction ends."""
    asked = {"names": list(names)}
    conn.execute(_SQL["add_missing"], asked)
    return dict(conn.execute(_SQL["lock_positions"], asked).fetchall())


def move(conn: Connection[Any], names: Sequence[str], expected: int, to: int) -> None:
    """Move checkpoints that all stand at one position.

    Raises:
        CheckpointMoved: One of them stands elsewhere; nothing may be written then.
    """
    asked = {"names": list(names), "expected": expected, "to": to}
    moved = {name for (name,) in conn.execute(_SQL["move_positions"], asked)}
    for name in names:
        if name not in moved:
            found = dict(conn.execute(_SQL["read_positions"], asked).fetchall()).get(name)
            raise CheckpointMoved(name, expected, found)


def delete(conn: Connection[Any], names: Sequence[str]) -> None:
    """Forget checkpoints."""
    conn.execute(_SQL["delete_positions"], {"names": list(names)})
