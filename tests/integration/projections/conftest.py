"""A log in a database of the test's own, and the read models it makes, row by row."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from connectors.postgres.connections import connect
from connectors.settings import Settings
from domain.event_batches import encode_batch
from projections import checkpoints, runner
from projections.catalog import READ_MODELS
from projections.feed import Feed
from projections.log import EVENTS_MAX
from tests.unit.projections.histories import Row, history

NAMES = [model.name for model in READ_MODELS]
TABLES = sorted(table for model in READ_MODELS for table in model.tables)


@dataclass
class World:
    """One database with a log in it."""

    settings: Settings
    owner: psycopg.Connection
    reader: psycopg.Connection
    writer: psycopg.Connection

    def store(self, rows: list[Row]) -> int:
        """Append batches to the log, as a flush does, and return its head."""
        with self.owner.transaction():
            for row in rows:
                count = len(row.events)
                batch_format, text = encode_batch(row.events)
                (head,) = self.owner.execute(
                    "UPDATE log_head SET position = position + %s RETURNING position", (count,)
                ).fetchone()
                self.owner.execute(
                    "INSERT INTO event_store (last_position, first_position, stream_id, tenant_id,"
                    " reconciliation_id, base_version, event_count, format, events, journal,"
                    " metadata, created_at)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    (
                        head, head - count + 1, row.stream_id, row.tenant,
                        row.reconciliation, row.base_version, count,
                        batch_format, text.decode(), row.journal,
                        Jsonb({"correlation_id": "c"}), row.stored_at,
                    ),
                )  # fmt: skip
            self.owner.execute("SELECT pg_notify('settler_events', %s)", (str(head),))
        return head

    def feed(self, models=READ_MODELS, *, events_max: int = EVENTS_MAX, **options) -> int:
        """Bring read models up to the head of the log."""
        after = min(checkpoints.read(self.writer, [model.name for model in models]).values())
        with Feed(self.reader, self.writer, events_max=events_max, **options) as feed:
            return feed.catch_up(models, after)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return a table in the order of its key."""
        return self.owner.execute(f"SELECT * FROM {table} ORDER BY {_key(self, table)}").fetchall()

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every derived row and every checkpoint."""
        positions = self.owner.execute(
            "SELECT name, position FROM projection_checkpoints ORDER BY name"
        ).fetchall()
        return {table: self.rows(table) for table in TABLES} | {"checkpoints": positions}

    def empty(self) -> None:
        """Delete every derived row and start over."""
        for table in TABLES:
            self.owner.execute(f"DELETE FROM {table}")
        self.owner.execute("DELETE FROM projection_checkpoints")

    def positions(self) -> dict[str, int]:
        """Return how far each live read model has come."""
        return dict(
            self.owner.execute(
                "SELECT name, position FROM projection_checkpoints WHERE name = ANY (%s)", (NAMES,)
            )
        )

    def wait_for(self, position: int) -> None:
        """Wait until every read model has come that far."""
        listener = psycopg.connect(self.settings.database_url, autocommit=True)
        with listener:
            listener.execute("LISTEN settler_read_models")
            for _ in range(200):
                positions = self.positions()
                if len(positions) >= len(NAMES) and min(positions.values()) >= position:
                    return
                for _ in listener.notifies(timeout=0.1, stop_after=1):
                    pass
        raise AssertionError(f"still at {self.positions()}, not at {position}")

    @contextmanager
    def running(self) -> Iterator["Running"]:
        """Run the projections in a thread."""
        running = Running(self.settings)
        try:
            yield running
        finally:
            running.end()


class Running:
    """The projections in a thread; `end` tells them to stop and returns their exit code."""

    def __init__(self, settings: Settings) -> None:
        self.stop = threading.Event()
        self.result: list[int] = []
        self.thread = threading.Thread(
            target=lambda: self.result.append(runner.run(settings, self.stop))
        )
        self.thread.start()

    def end(self) -> int:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.result[0]


def _key(world: World, table: str) -> str:
    (columns,) = world.owner.execute(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY array_position(conkey, attnum))"
        " FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)"
        " WHERE conrelid = %s::regclass AND contype = 'p'",
        (table,),
    ).fetchone()
    return columns


@pytest.fixture
def world(database, make_settings: Callable[..., Settings]) -> Iterator[World]:
    """A world with an empty log."""
    settings = make_settings(database_url=database.url)
    with (
        psycopg.connect(database.url, autocommit=True) as owner,
        connect(database.url, "projections", "test-read") as reader,
        connect(database.url, "projections", "test-write") as writer,
    ):
        owner.execute("SET timezone = 'UTC'")
        yield World(settings, owner, reader, writer)


@pytest.fixture
def full_world(world) -> World:
    """A world with a history in its log and nothing read yet."""
    world.store(history(7, steps=80)[0])
    return world
