"""What goes into the store and comes out of it."""

import re
from datetime import datetime
from hashlib import md5
from typing import Any

import msgspec

from domain.matched_pairs import Told

_ID = re.compile(r"[a-z0-9_-]{1,64}\Z")
_TRANSACTION_ID_MAX = 128
_MESSAGE_MAX = 2_000


class DeadLetter(msgspec.Struct, gc=False):
    """A record that could not be used, with its place in Kafka.

    `tenant_id` is None when it could not be read; then only operators see the letter.
    """

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

    def storable(self) -> "DeadLetter":
        """Return the letter with every text fit for a column.

        What makes a record bad may sit in its ids: a NUL or half a surrogate pair, which no text
        column takes, or an id too long for an index entry. A letter that cannot be stored would
        stop the flow, so such an id becomes None or is cut; `raw` keeps the bytes as they came.
        """
        return msgspec.structs.replace(
            self,
            tenant_id=_id_or_none(self.tenant_id),
            reconciliation_id=_id_or_none(self.reconciliation_id),
            transaction_id=_text(self.transaction_id, _TRANSACTION_ID_MAX),
            message=_text(self.message, _MESSAGE_MAX) or "",
        )


def _id_or_none(value: str | None) -> str | None:
    return value if value is not None and _ID.match(value) else None


def _text(value: str | None, length_max: int) -> str | None:
    if value is None:
        return None
    cut = value[:length_max].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return cut.encode("utf-8", "replace").decode()


def dead_letter_id(topic: str, partition: int, offset: int) -> str:
    """Name a dead letter by its place, as the column `dead_letter_id` does."""
    digits = md5(f"{topic}/{partition}/{offset}".encode(), usedforsecurity=False).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class CommandOutcome(msgspec.Struct, gc=False):
    """What became of a command of the inbox. `status` is "done" or "refused"."""

    command_id: str
    status: str
    outcome: dict[str, Any]


class StreamCommit(msgspec.Struct, gc=False):
    """What one decided chunk asks to be stored, whole or not at all.

    In `events` matches may be told together: `event_count` says how many there are. `next_offset`
    maps "topic/partition" to the next offset to read and is merged into the stream's. `wake_at_us`
    is in microseconds since the epoch. `redriven` has ids of dead letters that were taken up again.
    `metadata` needs `correlation_id`; a commit with `causation_id`, the outcome of a command, gets
    a batch row of its own, others of the same stream and flush share one.
    """

    stream_id: str
    tenant_id: str
    reconciliation_id: str
    base_version: int
    new_version: int
    fence: int
    next_offset: dict[str, int]
    wake_at_us: int | None
    definition_version: int
    events: list[Told] = []
    journal: list[bytes] = []
    metadata: dict[str, str] = {}
    rejections: list[DeadLetter] = []
    command_outcomes: list[CommandOutcome] = []
    redriven: list[str] = []

    @property
    def event_count(self) -> int:
        """How many events of the stream it brings."""
        return self.new_version - self.base_version


class Batch(msgspec.Struct, frozen=True, gc=False):
    """A row of event_store: the events of one stream in one flush.

    Event i, counted from 0, has stream version `base_version + 1 + i` and global position
    `first_position + i`. `events` is the stored JSON text, see `domain.events`; `journal` is None
    when there is none or it was not asked for.
    """

    last_position: int
    first_position: int
    stream_id: str
    tenant_id: str
    reconciliation_id: str
    base_version: int
    event_count: int
    format: int
    events: str
    journal: bytes | None
    metadata: dict[str, Any]
    created_at: datetime


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A stream taken by this process, and what its state is folded from.

    State = `snapshot` (None: from nothing) + `batches`, all after `snapshot_version`, in order. A
    snapshot's `snapshot_format` is 0 when there is none.
    """

    version: int
    fence: int
    next_offset: dict[str, int]
    snapshot: bytes | None
    snapshot_version: int
    snapshot_format: int
    definition_version: int
    batches: list[Batch]
