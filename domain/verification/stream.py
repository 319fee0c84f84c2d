"""One stream's batches read in order: does the log follow on, and does it say what it holds."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple, NoReturn, Protocol

import msgspec

from domain.event_batches import decode_events
from domain.events import Event, ReconciliationDefined, TransactionsAccepted
from domain.identity import casework_stream_id, exception_id
from domain.transactions import SIDE_NAMES, Transaction, unpack_transaction
from domain.verification.anchors import Anchor
from domain.verification.days import DayBooks
from domain.verification.difference import KEEP_AND_REPORT, RESTORE_LOG, Difference, Where
from domain.verification.entries import named
from domain.verification.ledger import Ledger
from domain.verification.letters import Letters, TopicReset
from domain.verification.presuming import PresumedAccounts, PresumingLedger
from domain.verification.totals import SideKey, Tally, Totals

RESTORE_LETTERS = (
    "Records that were refused must be kept: restore dead_letter_queue from the backup the log "
    "belongs to."
)
# What undoing compression, MessagePack, JSON and our own formats says of bytes that are damaged; a
# damaged length can ask for more memory than there is.
_DAMAGED = (
    ValueError,
    IndexError,
    OSError,
    MemoryError,
    RecursionError,
    zlib.error,
    msgspec.DecodeError,
)


class StoredBatch(NamedTuple):
    """A row of event_store, as far as it is verified."""

    first_position: int
    last_position: int
    base_version: int
    event_count: int
    format: int
    events: str
    journal: bytes | None
    stored_at: datetime


class _Chunk(msgspec.Struct):
    """A chunk in hand: how many of its records were rejected, and are dead letters for certain."""

    where: Where
    event: TransactionsAccepted
    rejected: int
    fewest: int

    def differs(self, letters: int) -> NoReturn:
        """Say that the dead letters hold another number."""
        read_from, (first, following) = next(iter(self.event.offsets.items()))
        raise Difference(
            "dead_letters",
            f"{self.rejected} records of {read_from}, offsets {first} to {following - 1}, were "
            f"rejected, the dead letters hold {letters}",
            self.where,
            RESTORE_LETTERS,
        )


class TakenIn(Protocol):
    """Told what a chunk took in, once that is known to be so."""

    def __call__(
        self,
        event: TransactionsAccepted,
        transactions: list[Transaction],
        sums: Mapping[SideKey, Tally],
        position: int,
    ) -> None:
        """Note one `TransactionsAccepted` at a position, and what it accepted."""


class PassedOver(Protocol):
    """Told of what a chunk took in whose journal has expired."""

    def __call__(self, event: TransactionsAccepted) -> None:
        """Note one `TransactionsAccepted` that cannot be counted again."""


def ignore(
    event: TransactionsAccepted,
    transactions: list[Transaction],
    sums: Mapping[SideKey, Tally],
    position: int,
) -> None:
    """Note nothing."""


def ignore_passed(event: TransactionsAccepted) -> None:
    """Note nothing."""


class StreamAudit:
    """Reads a reconciliation's stream from its first batch on.

    Args:
        decode_journal: Gives back the packed transactions of a batch's journal.
        letters: The stream's dead letters.
        resets: Where topics began anew, so that offsets may go back.
        taken_in: Told of every chunk.
        anchor: The snapshot that stands in for expired journals; None where none have.
        passed_over: Told of every chunk whose journal has expired.

    Attributes:
        unseen: Transactions whose journal has expired: counted as the log tells, not one by one.
    """

    def __init__(
        self,
        tenant_id: str,
        reconciliation_id: str,
        decode_journal: Callable[[bytes], list[bytes]],
        letters: Letters,
        resets: Iterable[TopicReset] = (),
        taken_in: TakenIn = ignore,
        anchor: Anchor | None = None,
        passed_over: PassedOver = ignore_passed,
    ) -> None:
        self._tenant_id, self._reconciliation_id = tenant_id, reconciliation_id
        self.stream_id = f"{tenant_id}/{reconciliation_id}"
        self._decode_journal = decode_journal
        self._letters = letters
        self._resets = list(resets)
        self._taken_in = taken_in
        self._anchor = anchor
        self._passed_over = passed_over
        self.unseen = 0
        self._ledger = (PresumingLedger if anchor else Ledger)(tenant_id, reconciliation_id)
        self.version = 0
        self._position = 0
        self._casework: dict[str, tuple[int, int]] = {}
        self._next_offsets: dict[str, tuple[int, int]] = {}
        self._chunk: _Chunk | None = None
        self._days = DayBooks(tenant_id, reconciliation_id)

    def read(self, batch: StoredBatch) -> None:
        """Read the next batch.

        Raises:
            Difference: It does not follow on, cannot be read, or contradicts what came before.
        """
        check_follows(self.stream_id, batch, self.version, self._position)
        where = Where(self.stream_id, batch.base_version + 1, batch.first_position)
        events, transactions = self._decode(batch, where)
        if len(events) != batch.event_count:
            raise Difference(
                "log", f"the batch says {batch.event_count} events and holds {len(events)}", where
            )
        ledger = self._ledger
        if isinstance(ledger, PresumingLedger):
            transactions = []  # what a journal still there says is not needed any more
        place = 0
        for index, event in enumerate(events):
            ledger.accounts.where = Where(
                self.stream_id, batch.base_version + 1 + index, batch.first_position + index
            )
            if self.version + index == 0 and type(event) is not ReconciliationDefined:
                self._differs("log", "the stream does not begin with its definition")
            if type(event) is TransactionsAccepted:
                place = self._accept(event, transactions, place)
            else:
                ledger.read(event)
        if place != len(transactions):
            self._differs(
                "journal",
                f"the batch's events count {place} transactions, its journal holds "
                f"{len(transactions)}",
            )
        ledger.end_batch()
        self._end_chunk()
        expired = isinstance(ledger, PresumingLedger)
        try:
            self._days.read(events, None if expired else transactions, batch.stored_at)
        except ValueError as exc:
            raise Difference("journal", str(exc), where) from exc
        self.version += batch.event_count
        self._position = batch.last_position
        if isinstance(ledger, PresumingLedger):
            self._settle(ledger)

    def _settle(self, ledger: PresumingLedger) -> None:
        """Go on with what the snapshot knows, once the expired journals are passed."""
        assert self._anchor is not None, "journals have expired"
        if self.version > self._anchor.version:
            self._differs(
                "log", f"journals have expired up to version {self._anchor.version}, amid a batch"
            )
        if self.version == self._anchor.version:
            self._ledger = ledger.settle(self._anchor)

    def read_casework(self, stream_id: str, batch: StoredBatch) -> None:
        """Read the next batch of what people did with one of its exceptions.

        Args:
            stream_id: "tenant/exception/id".

        Raises:
            Difference: It does not follow on, or speaks of something else.
        """
        version, position = self._casework.get(stream_id, (0, 0))
        check_follows(stream_id, batch, version, position)
        where = Where(stream_id, batch.base_version + 1, batch.first_position)
        events, transactions = self._decode(batch, where)
        if len(events) != batch.event_count or transactions:
            raise Difference("log", "the batch holds something else than it says", where)
        for index, event in enumerate(events):
            self._ledger.accounts.where = Where(
                stream_id, batch.base_version + 1 + index, batch.first_position + index
            )
            side, transaction_id = member = self._ledger.cases.work(event)
            of = (self._tenant_id, self._reconciliation_id, SIDE_NAMES[side], transaction_id)
            if casework_stream_id(self._tenant_id, exception_id(*of)) != stream_id:
                self._differs("log", f"it speaks of {named(member)}, whose stream this is not")
        self._casework[stream_id] = (version + batch.event_count, batch.last_position)

    def end(self, version: int, next_offsets: Mapping[str, int]) -> Totals:
        """Hold the end of the log against the stream's row, and count everything.

        Args:
            version, next_offsets: As the row of `streams` has them.

        Raises:
            Difference: They are not the log's, or the sums do not tie out.
        """
        where = Where(self.stream_id, self.version, self._position or None)
        if version != self.version:
            raise Difference(
                "log",
                f"the row of streams is at version {version}, the log ends at {self.version}",
                where,
            )
        for place, offset in next_offsets.items():
            read_to, _ = self._next_offsets.get(place, (0, 0))
            if offset != read_to:
                raise Difference(
                    "log",
                    f"the row of streams has read {place} up to offset {offset}, its log up to "
                    f"{read_to}",
                    where,
                )
        return self.totals()

    def totals(self) -> Totals:
        """Count everything as of the batches read."""
        totals = self._ledger.totals(self.version)
        totals.days = self._days.tallies()
        return totals

    def _decode(self, batch: StoredBatch, where: Where) -> tuple[list[Event], list[Transaction]]:
        try:
            events = decode_events(batch.events, batch.format)
        except _DAMAGED as exc:
            raise Difference("log", f"the events cannot be read: {exc}", where) from exc
        if batch.journal is None:
            return events, []
        try:
            return events, [
                unpack_transaction(packed, self._tenant_id, self._reconciliation_id)
                for packed in self._decode_journal(batch.journal)
            ]
        except _DAMAGED as exc:
            raise Difference("journal", f"the journal cannot be read: {exc}", where) from exc

    def _differs(self, kind: str, problem: str, hint: str = RESTORE_LOG) -> NoReturn:
        raise Difference(kind, problem, self._ledger.accounts.where, hint)

    def _accept(
        self, event: TransactionsAccepted, transactions: list[Transaction], place: int
    ) -> int:
        """Read a chunk's entry; returns how far into the batch's journal that leads."""
        accounts = self._ledger.accounts
        count = event.count
        if isinstance(accounts, PresumedAccounts):
            accounts.accept_told(event.counts)
            self.unseen += count
            self._check_taken_from(event)
            self._passed_over(event)
            return place
        chunk = transactions[place : place + count]
        sums = accounts.accept(chunk)
        self._check_counts(event, sums)
        position = self._check_taken_from(event)
        self._taken_in(event, chunk, sums, position)
        return place + count

    def _check_taken_from(self, event: TransactionsAccepted) -> int:
        """Hold a chunk's offsets and rejections against the log and the dead letters."""
        position = self._ledger.accounts.where.global_position
        assert position is not None, "every event has one"
        if min(event.redelivered, event.rejected) < 0:
            self._differs("log", "a count of redelivered or rejected records is below zero")
        self._ledger.redelivered += event.redelivered
        self._ledger.rejected += event.rejected
        fewest = most = 0
        for read_from, (first, following) in event.offsets.items():
            self._check_offsets(read_from, first, following, position)
            certain, every = self._letters.between(read_from, first, following, position)
            fewest, most = fewest + certain, most + every
        if event.offsets:
            self._end_chunk()
            self._chunk = _Chunk(self._ledger.accounts.where, event, event.rejected, fewest)
            if event.rejected > most:
                self._chunk.differs(most)
        elif self._chunk is not None:
            self._chunk.rejected += event.rejected
        return position

    def _end_chunk(self) -> None:
        """Check that as many records of the chunk in hand were rejected as letters are certain.

        What a correction cut off from a chunk follows as an event without offsets.
        """
        if self._chunk is not None and self._chunk.rejected < self._chunk.fewest:
            self._chunk.differs(self._chunk.fewest)
        self._chunk = None

    def _check_counts(self, event: TransactionsAccepted, sums: Mapping[SideKey, Tally]) -> None:
        told = {
            (side, currency): (count, sum_minor)
            for side, currency, count, sum_minor in event.counts
        }
        for key in told.keys() | sums.keys():
            tally = sums.get(key, Tally())
            count, sum_minor = told.get(key, (0, 0))
            if (count, sum_minor) != (tally.count, tally.sum_minor):
                side, currency = key
                self._differs(
                    "journal",
                    f"the log counts {count} {SIDE_NAMES[side]} transactions in {currency} with a "
                    f"sum of {sum_minor} minor units, the journal holds {tally.count} with "
                    f"{tally.sum_minor}",
                )

    def _check_offsets(self, place: str, first: int, following: int, position: int) -> None:
        topic, _, _ = place.rpartition("/")
        read_to, read_at = self._next_offsets.get(place, (0, 0))
        began_anew = any(
            reset.topic == topic and read_at <= reset.position < position for reset in self._resets
        )
        if first > following or (first < read_to and not began_anew):
            self._differs(
                "log",
                f"offsets {first} to {following - 1} of {place} were taken in, after those up to "
                f"{read_to - 1} had been",
                KEEP_AND_REPORT,
            )
        self._next_offsets[place] = (following, position)


def check_follows(stream_id: str, batch: StoredBatch, version: int, position: int) -> None:
    """Check that a batch goes on where its stream was.

    Args:
        version, position: Of the last event before it; 0 for the first.

    Raises:
        Difference: Versions are missing or occur twice, or positions go back.
    """
    where = Where(stream_id, batch.base_version + 1, batch.first_position)
    if batch.base_version != version:
        raise Difference(
            "log",
            f"version {version + 1} was to follow, the next batch begins later or earlier",
            where,
        )
    if batch.last_position - batch.first_position + 1 != batch.event_count:
        raise Difference(
            "log",
            f"{batch.event_count} events have the positions {batch.first_position} to "
            f"{batch.last_position}",
            where,
        )
    if batch.first_position <= position:
        raise Difference("log", f"its position is not behind the stream's last, {position}", where)
