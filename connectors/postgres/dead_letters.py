"""Bad records kept until someone, or a definition that was missing, takes them up again."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from connectors.postgres.queries import load_queries
from connectors.postgres.records import DeadLetter

_SQL = load_queries("dead_letters")


class StoredDeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A row of dead_letter_queue.

    `redriven_at` is when the last redrive was decided; asking for another clears it.
    `redrive_outcome` is what came of that one: accepted or refused.
    """

    dead_letter_id: str
    topic: str
    partition: int
    offset: int
    tenant_id: str | None
    reconciliation_id: str | None
    transaction_id: str | None
    side: int
    raw: bytes
    code: str
    message: str
    received_at: datetime
    redrive_requested_at: datetime | None
    redriven_at: datetime | None
    published_at: datetime | None
    redrive_outcome: str | None = None

    def letter(self) -> DeadLetter:
        """Return it as it was first put in."""
        return DeadLetter(
            self.topic,
            self.partition,
            self.offset,
            self.tenant_id,
            self.reconciliation_id,
            self.transaction_id,
            self.side,
            self.raw,
            self.code,
            self.message,
        )


def list_dead_letters(
    conn: Connection[Any],
    limit: int,
    tenant_id: str | None = None,
    code: str | None = None,
    after: str | None = None,
) -> list[StoredDeadLetter]:
    """List dead letters, newest first.

    Args:
        conn: Of role settler_operator, or settler_api acting for a tenant.
        limit: Letters at most.
        tenant_id: Only those of this tenant; None means all, those of no tenant among them.
        code: Only those with this code.
        after: Id of the last one of the page before.
    """
    asked = {"tenant_id": tenant_id, "code": code, "after": after, "limit": limit}
    return [StoredDeadLetter(*row) for row in conn.execute(_SQL["list_letters"], asked)]


def get_dead_letter(conn: Connection[Any], letter_id: str) -> StoredDeadLetter | None:
    """Give one dead letter; None when there is none of this id, or it is not ours to see."""
    row = conn.execute(_SQL["get_letter"], {"dead_letter_id": letter_id}).fetchone()
    return StoredDeadLetter(*row) if row else None


def request_redrive(conn: Connection[Any], letter_ids: Sequence[str]) -> int:
    """Ask the flow to take dead letters up again; returns how many of the ids exist."""
    asked = {"dead_letter_ids": list(letter_ids)}
    return conn.execute(_SQL["request_redrive"], asked).rowcount


def request_redrive_of_code(conn: Connection[Any], code: str, tenant_id: str | None = None) -> int:
    """Ask for all dead letters with a code, of one tenant or of all; returns how many."""
    asked = {"code": code, "tenant_id": tenant_id}
    return conn.execute(_SQL["request_redrive_of_code"], asked).rowcount


def read_redrivable(
    conn: Connection[Any], limit: int, exclude: Iterable[str] = ()
) -> list[StoredDeadLetter]:
    """Read what is to be taken up again: asked for, or its reconciliation is defined by now.

    A letter stays redrivable until a commit names it in `redriven`.

    Args:
        conn: A connection of role settler_flow.
        limit: Letters at most; each holds its raw bytes.
        exclude: Ids already on their way through the flow.
    """
    asked = {"limit": limit, "exclude": list(exclude)}
    return [StoredDeadLetter(*row) for row in conn.execute(_SQL["read_redrivable"], asked)]


def read_unpublished(conn: Connection[Any], limit: int) -> list[StoredDeadLetter]:
    """Read dead letters not yet sent to the topic of dead letters, oldest first."""
    rows = conn.execute(_SQL["read_unpublished"], {"limit": limit})
    return [StoredDeadLetter(*row) for row in rows]


def mark_published(conn: Connection[Any], letters: Sequence[StoredDeadLetter]) -> None:
    """Note that the broker has confirmed them."""
    conn.execute(
        _SQL["mark_published"],
        {
            "dead_letter_ids": [letter.dead_letter_id for letter in letters],
            "codes": [letter.code for letter in letters],
        },
    )
