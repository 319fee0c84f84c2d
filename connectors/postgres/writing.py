"""The write side of the store: one flush is one transaction, stored whole or not at all.

Guarantee: a flush whose streams are all at the version and fence this process holds is committed
once; any other raises `Fenced` and leaves no trace. Positions are gapless and in commit order.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import msgspec
from psycopg import Connection, Cursor
from psycopg import errors as pg_errors
from psycopg.types.json import Jsonb

from connectors.postgres.errors import Fenced
from connectors.postgres.journal import encode_journal
from connectors.postgres.queries import load_queries
from connectors.postgres.records import (
    CommandOutcome,
    DeadLetter,
    StreamCommit,
    dead_letter_id,
)
from domain.event_batches import FORMAT, encode_batch
from domain.matched_pairs import count_of

_SQL = load_queries("writing")
_BATCH_TYPES = (
    "int8", "int8", "text", "text", "text", "int8", "int4", "int2", "text", "bytea", "jsonb",
)  # fmt: skip
# Of the commits that share a row the first names the correlation and trace; the rest is told last.
_FIRST_WINS = ("correlation_id", "traceparent", "tracestate")

Outcome = Literal["committed", "not_committed", "fenced"]


class BatchRow(NamedTuple):
    """A row of event_store that has no position yet."""

    stream_id: str
    tenant_id: str
    reconciliation_id: str
    base_version: int
    event_count: int
    format: int
    events: str
    journal: bytes | None
    metadata: dict[str, Any]


class StreamStep(NamedTuple):
    """All that one flush does to one stream: from one version to another, with what it has read."""

    stream_id: str
    base_version: int
    new_version: int
    fence: int
    next_offset: dict[str, int]
    wake_at_us: int | None
    definition_version: int


class Flush(NamedTuple):
    """A flush ready to be stored: encoded before the transaction, so that its locks stay short."""

    steps: list[StreamStep]
    rows: list[BatchRow]
    dead_letters: list[DeadLetter]
    outcomes: list[CommandOutcome]
    redriven: list[str]

    @property
    def event_count(self) -> int:
        """Events in all rows."""
        return sum(row.event_count for row in self.rows)

    @property
    def letter_ids(self) -> list[str]:
        """Ids of its dead letters."""
        return [dead_letter_id(one.topic, one.partition, one.offset) for one in self.dead_letters]


def prepare_flush(
    commits: Sequence[StreamCommit],
    dead_letters: Iterable[DeadLetter],
    newest_format: int = FORMAT,
) -> Flush:
    """Merge the commits of each stream and encode what goes into the log.

    Args:
        commits: In the order they were decided; those of one stream follow on in version. One
            without a stream id touches no stream.
        dead_letters: Records that belong to no stream.
        newest_format: See `read_newest_format`.
    """
    by_stream: defaultdict[str, list[StreamCommit]] = defaultdict(list)
    for commit in commits:
        if commit.stream_id:  # without one it only brings outcomes, letters or redrives
            by_stream[commit.stream_id].append(commit)
    steps, rows = [], []
    for stream_id in sorted(by_stream):
        of_stream = by_stream[stream_id]
        steps.append(_step(of_stream))
        rows += [_row(run, newest_format) for run in _runs(of_stream)]
    letters = [letter.storable() for letter in dead_letters]
    letters += [letter.storable() for commit in commits for letter in commit.rejections]
    letters.sort(key=lambda letter: (letter.topic, letter.partition, letter.offset))
    return Flush(
        steps,
        rows,
        letters,
        [outcome for commit in commits for outcome in commit.command_outcomes],
        [letter_id for commit in commits for letter_id in commit.redriven],
    )


def _step(of_stream: list[StreamCommit]) -> StreamStep:
    first, last = of_stream[0], of_stream[-1]
    next_offset: dict[str, int] = {}
    version = first.base_version
    for commit in of_stream:
        assert commit.base_version == version, f"{commit.stream_id}: {version} != base"
        assert commit.fence == first.fence, f"{commit.stream_id}: two fences in one flush"
        version += count_of(commit.events)
        assert commit.new_version == version, f"{commit.stream_id}: {version} != new"
        next_offset |= commit.next_offset
    return StreamStep(
        first.stream_id,
        first.base_version,
        version,
        first.fence,
        next_offset,
        last.wake_at_us,
        last.definition_version,
    )


def _runs(of_stream: list[StreamCommit]) -> list[list[StreamCommit]]:
    """Group the commits that share a row; a command's outcome is found by its cause, alone."""
    runs: list[list[StreamCommit]] = []
    alone = True
    for commit in of_stream:
        if not commit.events:
            assert not commit.journal, f"{commit.stream_id}: a journal without its event"
            continue
        caused = "causation_id" in commit.metadata
        if alone or caused:
            runs.append([commit])
        else:
            runs[-1].append(commit)
        alone = caused
    return runs


def _row(run: list[StreamCommit], newest_format: int) -> BatchRow:
    first = run[0]
    metadata: dict[str, Any] = {}
    for commit in run:
        metadata |= commit.metadata
    metadata |= {name: first.metadata[name] for name in _FIRST_WINS if name in first.metadata}
    events = first.events if len(run) == 1 else list(chain.from_iterable(c.events for c in run))
    journal = [packed for commit in run for packed in commit.journal]
    batch_format, text = encode_batch(events, newest_format)
    return BatchRow(
        first.stream_id,
        first.tenant_id,
        first.reconciliation_id,
        first.base_version,
        sum(commit.event_count for commit in run),
        batch_format,
        text.decode(),
        encode_journal(journal) if journal else None,
        metadata,
    )


def commit_flush(
    conn: Connection[Any], commits: Sequence[StreamCommit], dead_letters: Iterable[DeadLetter]
) -> int:
    """Store the commits of many streams and the dead letters in one transaction.

    Args:
        conn: A connection of role settler_flow, no transaction open.
        commits: In the order they were decided; those of one stream follow on in version.
        dead_letters: Records that belong to no stream.

    Returns:
        The log's position after this flush; without events, the position it found.

    Raises:
        Fenced: A stream is not at the version and fence the commit names. Nothing was stored.
        psycopg.OperationalError: The connection failed; whether the flush was stored is open,
            `commit_outcome` tells.
    """
    return store_flush(conn, prepare_flush(commits, dead_letters))


def read_newest_format(conn: Connection[Any]) -> int:
    """The newest format of batches that everybody who runs can read.

    Until the migrations that come last are applied, that is what the release before this reads.
    """
    row = conn.execute(_SQL["read_newest_format"]).fetchone()
    assert row is not None, "log_head has its one row from the first migration on"
    return int(row[0])


def store_flush(conn: Connection[Any], flush: Flush) -> int:
    """Store a prepared flush; the same promise as `commit_flush`."""
    try:
        with conn.transaction(), conn.cursor() as cursor:
            _advance_streams(cursor, flush.steps)
            _store_letters(cursor, flush)
            return _append(cursor, flush)
    except pg_errors.UniqueViolation as exc:
        if exc.diag.constraint_name != "event_store_stream_version_key":
            raise
        raise Fenced([step.stream_id for step in flush.steps]) from exc


def _advance_streams(cursor: Cursor[Any], steps: list[StreamStep]) -> None:
    if not steps:
        return
    cursor.execute(
        _SQL["advance_streams"],
        {
            "stream_ids": [step.stream_id for step in steps],
            "base_versions": [step.base_version for step in steps],
            "new_versions": [step.new_version for step in steps],
            "fences": [step.fence for step in steps],
            "next_offsets": [msgspec.json.encode(step.next_offset).decode() for step in steps],
            "wake_ats_us": [step.wake_at_us for step in steps],
            "definition_versions": [step.definition_version for step in steps],
        },
    )
    if cursor.rowcount != len(steps):
        advanced = {row[0] for row in cursor}
        raise Fenced([step.stream_id for step in steps if step.stream_id not in advanced])


def _store_letters(cursor: Cursor[Any], flush: Flush) -> None:
    if flush.dead_letters:
        cursor.executemany(
            _SQL["insert_dead_letter"],
            [msgspec.structs.asdict(letter) for letter in flush.dead_letters],
        )
    if flush.redriven:
        cursor.execute(
            _SQL["mark_redriven"],
            {"dead_letter_ids": flush.redriven, "refused_ids": flush.letter_ids},
        )
    if flush.outcomes:
        cursor.executemany(
            _SQL["decide_command"],
            [
                {"command_id": o.command_id, "status": o.status, "outcome": Jsonb(o.outcome)}
                for o in flush.outcomes
            ],
        )


def _append(cursor: Cursor[Any], flush: Flush) -> int:
    count = flush.event_count
    if not count:
        cursor.execute(_SQL["read_head"])
        return _position(cursor)
    cursor.execute(_SQL["take_positions"], {"count": count})
    head = _position(cursor)
    position = head - count
    with cursor.copy(_SQL["copy_batches"]) as copy:
        copy.set_types(_BATCH_TYPES)
        for row in flush.rows:
            first, position = position + 1, position + row.event_count
            copy.write_row((position, first, *row[:-1], Jsonb(row.metadata)))
    return head


def _position(cursor: Cursor[Any]) -> int:
    row = cursor.fetchone()
    assert row is not None, "log_head has its one row from the first migration on"
    return int(row[0])


def commit_outcome(conn: Connection[Any], commits: Sequence[StreamCommit]) -> Outcome:
    """Say what became of a flush whose commit was never answered.

    Waits for an older connection's transaction on these streams to end, within lock_timeout.

    Returns:
        "committed": every stream is at its new version under our fence; nothing is to be done.
        "not_committed": nothing was stored, or nothing that storing again would change.
        "fenced": another process has taken over a stream; stop.

    Raises:
        psycopg.errors.LockNotAvailable: The old transaction still holds a stream; ask again.
    """
    steps = prepare_flush([msgspec.structs.replace(c, journal=[]) for c in commits], []).steps
    return steps_outcome(conn, steps)


def steps_outcome(conn: Connection[Any], steps: list[StreamStep]) -> Outcome:
    """`commit_outcome` of a prepared flush."""
    if not steps:
        return "not_committed"
    with conn.transaction():
        found = {
            stream_id: (version, fence)
            for stream_id, version, fence in conn.execute(
                _SQL["read_holds"], {"stream_ids": [step.stream_id for step in steps]}
            )
        }
    holds = [(found.get(step.stream_id), step) for step in steps]
    # A step without events leaves the version; it is stored with the others or harmless to repeat.
    if all(hold == (step.base_version, step.fence) for hold, step in holds):
        return "not_committed"
    if all(hold == (step.new_version, step.fence) for hold, step in holds):
        return "committed"
    return "fenced"
