"""Reading the log for projections: batches decoded, journals left where they are."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from psycopg import Connection

from domain.errors import SettlerError
from domain.event_batches import (
    PLAIN_FORMAT,
    decode_elements,
    decode_events,
    gathered,
)
from domain.events import Event, RecordMatched
from domain.matched_pairs import MatchedPairs, Told
from projections.queries import load_queries

_SQL = load_queries("log")

#: One database transaction of a projector takes at most this much of the log, unless a single
#: batch is larger: 10,000 events are folded and written in about a tenth of a second, so a reader
#: does not wait longer for rows already committed, and buffers stay in the tens of MiB.  Twice and
#: four times as many wrote fewer rows a second.
EVENTS_MAX = 10_000
BYTES_MAX = 16 * 1024 * 1024

#: "No end": larger than any position.
NO_END = 2**62


class LogBroken(SettlerError):
    """The log does not go on where the checkpoint stands."""

    code = "projection.log_broken"

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"the log goes on at position {found} where {expected} was expected: events are "
            "missing or were restored apart from the checkpoints. Compare event_store with its "
            "backup, then run `settler projections rebuild --all`"
        )


class LogBatch(msgspec.Struct, frozen=True, gc=False):
    """A batch of one stream, decoded.

    Event i, counted from 0, has position `first_position + i` and stream version
    `base_version + 1 + i`. `pairs`, `matched` and `others` split the events, each with its i, and
    an element of `pairs` with that of its first: a hot reconciliation is almost all pairs.
    `stream_hash` is as in `matches`. `plain` says that no text in it needs escaping.
    """

    last_position: int
    first_position: int
    tenant_id: str
    reconciliation_id: str
    base_version: int
    created_at: datetime
    stream_hash: int
    journal_bytes: int
    event_count: int
    text_bytes: int
    plain: bool
    pairs: list[tuple[int, MatchedPairs]]
    matched: list[tuple[int, RecordMatched]]
    others: list[tuple[int, Event]]

    @property
    def match_count(self) -> int:
        """How many matches rules made."""
        return len(self.matched) + sum(len(run.pairs) for _, run in self.pairs)


def read_log(
    conn: Connection[Any],
    after: int,
    until: int = NO_END,
    events_max: int = EVENTS_MAX,
    bytes_max: int = BYTES_MAX,
) -> list[LogBatch]:
    """Read what follows a position, in commit order, at least one batch if there is any.

    Args:
        conn: Of a role that sees all tenants.
        after: Last position already folded; 0 for the beginning.
        until: Last position wanted.
        events_max: Events returned at most; a larger batch comes alone.
        bytes_max: Bytes of event text, which the last batch may exceed.

    Raises:
        LogBroken: The first batch does not begin right after `after`.
    """
    asked = {"after": after, "until": until, "events_max": events_max, "bytes_max": bytes_max}
    rows = conn.execute(_SQL["read_log"], asked, binary=True).fetchall()
    batches = [decode_batch(*row) for row in rows]
    check_order(after, batches)
    return batches


def check_order(after: int, batches: Sequence[LogBatch]) -> None:
    """Refuse batches that do not follow on from a position and from each other."""
    for batch in batches:
        if batch.first_position != after + 1:
            raise LogBroken(after + 1, batch.first_position)
        after = batch.last_position


def decode_batch(
    last_position: int,
    first_position: int,
    tenant_id: str,
    reconciliation_id: str,
    base_version: int,
    batch_format: int,
    text: str,
    journal_bytes: int,
    created_at: datetime,
    stream_hash: int,
) -> LogBatch:
    """Decode one row of event_store."""
    pairs: list[tuple[int, MatchedPairs]] = []
    matched: list[tuple[int, RecordMatched]] = []
    others: list[tuple[int, Event]] = []
    index = 0
    for element in _elements(text, batch_format):
        if isinstance(element, MatchedPairs):
            pairs.append((index, element))
            index += len(element.pairs)
            continue
        if type(element) is RecordMatched:
            matched.append((index, element))
        else:
            others.append((index, element))
        index += 1
    return LogBatch(
        last_position=last_position,
        first_position=first_position,
        tenant_id=tenant_id,
        reconciliation_id=reconciliation_id,
        base_version=base_version,
        created_at=created_at.astimezone(UTC),
        stream_hash=stream_hash,
        journal_bytes=journal_bytes,
        event_count=index,
        text_bytes=len(text),
        # JSON writes quotes, backslashes and control characters with a backslash; without one in
        # the whole text, every string in it can go into COPY as it is.
        plain="\\" not in text,
        pairs=pairs,
        matched=matched,
        others=others,
    )


def _elements(text: str, batch_format: int) -> list[Told]:
    if batch_format == PLAIN_FORMAT:
        return gathered(decode_events(text, batch_format))
    return decode_elements(text, batch_format)
