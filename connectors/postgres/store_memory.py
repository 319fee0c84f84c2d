"""The store's twin in memory, for simulations: same promises, its own clock, failing on demand.

It shares the merging and encoding of flushes with the real one, so what goes in comes out in the
same bytes. Several simulated processes share one object, as they would share a database.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.dead_letters import StoredDeadLetter
from connectors.postgres.errors import Fenced, TopicReplaced
from connectors.postgres.inbox import Command, CommandState
from connectors.postgres.records import (
    Batch,
    Claim,
    CommandOutcome,
    DeadLetter,
    StreamCommit,
    dead_letter_id,
)
from connectors.postgres.writing import BatchRow, StreamStep, prepare_flush
from domain.freezing.frozen import NewBlock
from domain.snapshots import READABLE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Stream(msgspec.Struct):
    tenant_id: str
    reconciliation_id: str
    version: int = 0
    fence: int = 0
    next_offset: dict[str, int] = {}
    wake_at_us: int | None = None
    definition_version: int = 0
    snapshots: dict[int, tuple[int, bytes, list[int]]] = {}
    blocks: dict[int, NewBlock] = {}


class MemoryStore:
    """The store of `store.Store` in memory.

    Args:
        now_us: The database's clock, microseconds since the epoch.
        fault: Called at every point where a process can die or lose its answer, with the point's
            name: `NAME:before` has changed nothing, `NAME:after` everything, with NAME one of
            claim, write, snapshot, blocks, offsets, submit, lease. It may raise what it likes.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        fault: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self._now_us = now_us
        self._fault = fault
        self.streams: dict[str, _Stream] = {}
        self.batches: list[Batch] = []
        self.letters: dict[tuple[str, int, int], StoredDeadLetter] = {}
        self.offsets: dict[tuple[str, int], SourceCheckpoint] = {}
        self.commands: dict[str, tuple[Command, CommandState]] = {}
        self.leases: dict[str, tuple[str, int]] = {}

    def claim(
        self, stream_id: str, tenant_id: str, reconciliation_id: str, *, create: bool
    ) -> Claim | None:
        """See `streams.claim_stream`."""
        self._fault("claim:before")
        if stream_id not in self.streams:
            if not create:
                return None
            self.streams[stream_id] = _Stream(tenant_id, reconciliation_id)
        stream = self.streams[stream_id]
        stream.fence += 1
        self._fault("claim:after")
        readable = (at for at, (of, *_) in stream.snapshots.items() if of in READABLE)
        newest = max(readable, default=0)
        snapshot_format, state, _ = stream.snapshots.get(newest, (0, None, None))
        return Claim(
            stream.version,
            stream.fence,
            dict(stream.next_offset),
            state,
            newest,
            snapshot_format,
            stream.definition_version,
            [
                batch
                for batch in self.batches
                if batch.stream_id == stream_id and batch.base_version + batch.event_count > newest
            ],
        )

    def write(self, commits: Sequence[StreamCommit], letters: Iterable[DeadLetter]) -> int:
        """See `writing.commit_flush`."""
        self._fault("write:before")
        flush = prepare_flush(commits, letters)
        lost = [step.stream_id for step in flush.steps if not self._holds(step)]
        if lost:
            raise Fenced(lost)
        for step in flush.steps:
            self._advance(step)
        for letter in flush.dead_letters:
            self._keep(letter)
        for letter_id in flush.redriven:
            became = "refused" if letter_id in flush.letter_ids else "accepted"
            self._change_letter(letter_id, redriven_at=self._now(), redrive_outcome=became)
        for outcome in flush.outcomes:
            self._decide(outcome)
        for row in flush.rows:
            self._append(row)
        self._fault("write:after")
        return self._head()

    def save_snapshot(
        self,
        stream_id: str,
        version: int,
        snapshot_format: int,
        state: bytes,
        fence: int,
        blocks: Sequence[int] = (),
        newest_block: int = 0,
    ) -> bool:
        """See `snapshots.save_snapshot`."""
        self._fault("snapshot:before")
        stream = self.streams.get(stream_id)
        if stream is None or stream.fence != fence or stream.version < version:
            return False
        if version in stream.snapshots:
            return False
        kept = sorted([*stream.snapshots, version])[-2:]
        every = stream.snapshots | {version: (snapshot_format, state, list(blocks))}
        stream.snapshots = {of: every[of] for of in kept}
        named = {number for _, _, numbers in stream.snapshots.values() for number in numbers}
        stream.blocks = {
            number: block
            for number, block in stream.blocks.items()
            if number in named or number > newest_block
        }
        self._fault("snapshot:after")
        return True

    def write_blocks(self, stream_id: str, blocks: Sequence[NewBlock]) -> None:
        """See `freezing.write_blocks`."""
        self._fault("blocks:before")
        stream = self.streams[stream_id]
        stream.blocks = {block.number: block for block in blocks} | stream.blocks
        self._fault("blocks:after")

    def read_fingerprints(self, stream_id: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """See `freezing.read_fingerprints`."""
        blocks = self.streams[stream_id].blocks
        return {one: blocks[one].fingerprints for one in numbers if one in blocks}

    def read_pages(
        self, stream_id: str, places: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        """See `freezing.read_pages`."""
        blocks = self.streams[stream_id].blocks
        return {
            (block, page): blocks[block].pages[page] for block, page in places if block in blocks
        }

    def read_batches(self, after_position: int, limit: int) -> list[Batch]:
        """See `reading.read_batches`."""
        return [b for b in self.batches if b.last_position > after_position][:limit]

    def load_offsets(self, topic: str, cluster_id: str, topic_id: str) -> dict[int, int]:
        """See `checkpoints.load_source_checkpoints`."""
        found = [saved for key, saved in sorted(self.offsets.items()) if key[0] == topic]
        for saved in found:
            if (saved.cluster_id, saved.topic_id) != (cluster_id, topic_id):
                raise TopicReplaced(
                    topic, (saved.cluster_id, saved.topic_id), (cluster_id, topic_id)
                )
        return {saved.partition: saved.next_offset for saved in found}

    def save_offsets(self, saved: Iterable[SourceCheckpoint]) -> None:
        """See `checkpoints.save_source_checkpoints`."""
        self._fault("offsets:before")
        every = list(saved)
        for checkpoint in every:
            self.load_offsets(checkpoint.topic, checkpoint.cluster_id, checkpoint.topic_id)
        for checkpoint in every:
            key = (checkpoint.topic, checkpoint.partition)
            old = self.offsets.get(key)
            if old is None or old.next_offset < checkpoint.next_offset:
                self.offsets[key] = checkpoint
        self._fault("offsets:after")

    def submit(self, command: Command) -> bool:
        """See `inbox.submit`."""
        self._fault("submit:before")
        if command.command_id in self.commands:
            return False
        kept = msgspec.structs.replace(command, submitted_at=self._now())
        self.commands[command.command_id] = (kept, CommandState("pending", None, None))
        self._fault("submit:after")
        return True

    def read_pending(self, limit: int, exclude: Iterable[str] = ()) -> list[Command]:
        """See `inbox.read_pending`."""
        known = set(exclude)
        pending = [
            command
            for command, state in self.commands.values()
            if state.status == "pending" and command.command_id not in known
        ]
        pending.sort(key=lambda command: (command.submitted_at or _EPOCH, command.command_id))
        return pending[:limit]

    def read_command_state(self, command_id: str) -> CommandState | None:
        """See `inbox.read_command_state`."""
        found = self.commands.get(command_id)
        return found[1] if found else None

    def read_redrivable(self, limit: int, exclude: Iterable[str] = ()) -> list[StoredDeadLetter]:
        """See `dead_letters.read_redrivable`."""
        known = set(exclude)
        found = [
            letter
            for letter in self.letters.values()
            if letter.redriven_at is None
            and letter.dead_letter_id not in known
            and (letter.redrive_requested_at is not None or self._is_defined_now(letter))
        ]
        found.sort(key=lambda letter: (letter.received_at, letter.dead_letter_id))
        return found[:limit]

    def request_redrive(self, letter_ids: Sequence[str]) -> int:
        """See `dead_letters.request_redrive`."""
        return sum(
            self._change_letter(letter_id, redrive_requested_at=self._now(), redriven_at=None)
            for letter_id in letter_ids
        )

    def acquire_lease(self, name: str, holder: str, seconds: float) -> bool:
        """See `lease.acquire`."""
        self._fault("lease:before")
        held_by, expires_us = self.leases.get(name, (holder, 0))
        if held_by != holder and expires_us > self._now_us():
            return False
        self.leases[name] = (holder, self._now_us() + int(seconds * 1e6))
        self._fault("lease:after")
        return True

    def renew_lease(self, name: str, holder: str, seconds: float) -> bool:
        """See `lease.renew`."""
        if self.leases.get(name, ("", 0))[0] != holder:
            return False
        return self.acquire_lease(name, holder, seconds)

    def release_lease(self, name: str, holder: str) -> None:
        """See `lease.release`."""
        if self.leases.get(name, ("", 0))[0] == holder:
            del self.leases[name]

    def _now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._now_us())

    def _head(self) -> int:
        return self.batches[-1].last_position if self.batches else 0

    def _holds(self, step: StreamStep) -> bool:
        stream = self.streams.get(step.stream_id)
        return stream is not None and (stream.version, stream.fence) == (
            step.base_version,
            step.fence,
        )

    def _advance(self, step: StreamStep) -> None:
        stream = self.streams[step.stream_id]
        stream.version = step.new_version
        stream.next_offset = stream.next_offset | step.next_offset
        stream.wake_at_us = step.wake_at_us
        stream.definition_version = step.definition_version

    def _append(self, row: BatchRow) -> None:
        first = self._head() + 1
        self.batches.append(
            Batch(
                first + row.event_count - 1,
                first,
                *row[:-1],
                dict(row.metadata),
                self._now(),
            )
        )

    def _keep(self, letter: DeadLetter) -> None:
        place = (letter.topic, letter.partition, letter.offset)
        old = self.letters.get(place)
        fields: dict[str, Any] = msgspec.structs.asdict(letter)
        if old is None:
            self.letters[place] = StoredDeadLetter(
                dead_letter_id=dead_letter_id(*place),
                received_at=self._now(),
                redrive_requested_at=None,
                redriven_at=None,
                published_at=None,
                **fields,
            )
        elif old.code != letter.code:
            del fields["raw"], fields["side"]
            self.letters[place] = msgspec.structs.replace(old, published_at=None, **fields)

    def _change_letter(self, letter_id: str, **changes: Any) -> int:
        for place, letter in self.letters.items():
            if letter.dead_letter_id == letter_id:
                self.letters[place] = msgspec.structs.replace(letter, **changes)
                return 1
        return 0

    def _is_defined_now(self, letter: StoredDeadLetter) -> bool:
        stream = self.streams.get(f"{letter.tenant_id}/{letter.reconciliation_id}")
        defined = stream is not None and stream.definition_version > 0
        return letter.code == "unknown_reconciliation" and defined

    def _decide(self, outcome: CommandOutcome) -> None:
        found = self.commands.get(outcome.command_id)
        if found and found[1].status == "pending":
            state = CommandState(outcome.status, outcome.outcome, self._now())
            self.commands[outcome.command_id] = (found[0], state)
