"""Kafka's messages held against the log: each accepted, redelivered or a dead letter, none twice.

Accepted content is remembered as 64-bit digests in sorted arrays, 9 bytes a transaction, so that a
log of tens of millions fits in memory beside nothing else.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from domain.events import TransactionsAccepted
from domain.transactions import SIDE_NAMES, Transaction, decode_transaction
from domain.verification.difference import KEEP_AND_REPORT, Difference, Where
from domain.verification.letters import TopicReset
from domain.verification.totals import SideKey, Tally

#: topic and partition
Partition = tuple[str, int]
# The lowest bit of a digest says whether Kafka must still have the transaction.
_DIGEST = ~1


class Reach(NamedTuple):
    """What of the log Kafka can still be asked about.

    Attributes:
        first_offsets: The first offset Kafka still has, by "topic/partition"; partitions that
            cannot be asked are absent.
        resets: Entries of the log from before a topic's reset speak of an older topic.
    """

    first_offsets: Mapping[str, int]
    resets: Iterable[TopicReset]

    def covers(self, place: str, first: int, position: int) -> bool:
        """Whether Kafka has what a batch at a position took from an offset of a partition on."""
        lowest = self.first_offsets.get(place)
        if lowest is None or first < lowest:
            return False
        topic, _, _ = place.rpartition("/")
        return all(reset.topic != topic or reset.position < position for reset in self.resets)


class _Span:
    """What the log says it took from one partition, and what Kafka has there."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.following = first
        self.told = 0
        self.found = 0


class StreamRecount:
    """One stream's side of the recount.

    Attributes:
        next_offsets: How far the stream has committed, by "topic/partition".
    """

    def __init__(self, stream_id: str, reach: Reach) -> None:
        self.stream_id = stream_id
        self.next_offsets: Mapping[str, int] = {}
        self.found: dict[SideKey, Tally] = {}
        self._reach = reach
        self._digests = array("Q")
        self._seen = bytearray()
        self._awaited: dict[SideKey, Tally] = {}
        self._awaited_found: dict[SideKey, Tally] = {}
        self._spans: dict[str, _Span] = {}

    def take_in(
        self,
        event: TransactionsAccepted,
        transactions: list[Transaction],
        sums: Mapping[SideKey, Tally],
        position: int,
    ) -> None:
        """Note what a chunk accepted (see `stream.TakenIn`)."""
        awaited = bool(event.offsets) and all(
            self._reach.covers(place, first, position)
            for place, (first, _) in event.offsets.items()
        )
        self._digests.extend(
            [xxh3_64_intdigest(one.packed) & _DIGEST | awaited for one in transactions]
        )
        if not awaited:
            return
        for key, tally in sums.items():
            self._awaited.setdefault(key, Tally()).add(tally.count, tally.sum_minor)
        consumed = len(transactions) + event.redelivered + event.rejected
        for place, (first, following) in event.offsets.items():
            span = self._spans.get(place)
            if span is None:
                span = self._spans[place] = _Span(first)
            span.following = following
            span.told += consumed

    def seal(self, next_offsets: Mapping[str, int]) -> None:
        """Make ready for messages, once the whole stream has been read."""
        self.next_offsets = next_offsets
        self._digests = array("Q", sorted(self._digests))
        self._seen = bytearray(len(self._digests))

    def pass_by(self, place: str, offset: int) -> None:
        """Count a message of this stream."""
        span = self._spans.get(place)
        if span is not None and span.first <= offset < span.following:
            span.found += 1

    def recognise(self, one: Transaction) -> str | None:
        """Say what became of a message's content: accepted, redelivered, or None if unknown."""
        digest = xxh3_64_intdigest(one.packed) & _DIGEST
        index = bisect_left(self._digests, digest)
        if index == len(self._digests) or self._digests[index] & _DIGEST != digest:
            return None
        if self._seen[index]:
            return "redelivered"
        self._seen[index] = 1
        key = (one.side, one.currency)
        self.found.setdefault(key, Tally()).add(1, one.amount_minor)
        if self._digests[index] & 1:
            self._awaited_found.setdefault(key, Tally()).add(1, one.amount_minor)
        return "accepted"

    def end(self) -> None:
        """Hold what was found against what the log told.

        Raises:
            Difference: Kafka has more or less than the log took in.
        """
        where = Where(self.stream_id)
        for place, span in self._spans.items():
            if span.told != span.found:
                raise Difference(
                    "kafka",
                    f"the log took {span.told} records from {place}, offsets {span.first} to "
                    f"{span.following - 1}, where Kafka has {span.found}",
                    where,
                    KEEP_AND_REPORT,
                )
        for key in sorted(self._awaited.keys() | self._awaited_found.keys()):
            told = self._awaited.get(key, Tally())
            found = self._awaited_found.get(key, Tally())
            if told != found:
                side, currency = key
                raise Difference(
                    "kafka",
                    f"the log accepted {told.count} {SIDE_NAMES[side]} transactions in {currency} "
                    f"with a sum of {told.sum_minor} minor units from what Kafka still has, of "
                    f"which {found.count} with {found.sum_minor} are there",
                    where,
                    KEEP_AND_REPORT,
                )


class Recount:
    """Reads messages and accounts for each.

    Args:
        streams: Of the reconciliations verified, sealed.
        letters: Offsets of dead letters by partition, ascending.
        committed: Up to which offset everything of a partition is committed, whoever it is for.
        every: Whether all streams are verified, so that messages for none of them are looked at.
        now_us: The clock, microseconds since the epoch.

    Attributes:
        messages: How many were read.
        outcomes: accepted, redelivered, dead_letter → how many messages.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamRecount],
        letters: Mapping[Partition, "array[int]"],
        committed: Mapping[Partition, int],
        *,
        every: bool,
        now_us: int,
    ) -> None:
        self._streams = streams
        self._letters = letters
        self._committed = committed
        self._every = every
        self._now_us = now_us
        self.messages = 0
        self.outcomes = {"accepted": 0, "redelivered": 0, "dead_letter": 0}

    def read(self, partition: Partition, side: int, offset: int, value: bytes) -> None:
        """Account for one message; those of a partition come in offset order.

        Raises:
            Difference: It is committed, and nothing says what became of it.
        """
        one = decode_transaction(value, side, self._now_us, offset)
        stream_id = f"{one.tenant_id}/{one.reconciliation_id}"
        stream = self._streams.get(stream_id)
        if stream is None and not self._every:
            return
        place = f"{partition[0]}/{partition[1]}"
        until = self._committed.get(partition, 0)
        if stream is not None:
            until = max(until, stream.next_offsets.get(place, 0))
        if offset >= until:
            return
        self.messages += 1
        outcome = None
        if stream is not None:
            stream.pass_by(place, offset)
            if isinstance(one, Transaction):
                outcome = stream.recognise(one)
        if outcome is None and self._has_letter(partition, offset):
            outcome = "dead_letter"
        if outcome is None:
            named = one.transaction_id or "without a readable id"
            raise Difference(
                "kafka",
                f"the message at {place}, offset {offset} ({SIDE_NAMES[side]} transaction {named}) "
                "is committed, yet neither accepted nor a dead letter",
                Where(stream_id if stream is not None else None),
                "A record was lost: keep the topics and the database as they are. Sent again under "
                "its id the record is taken in.",
            )
        self.outcomes[outcome] += 1

    def _has_letter(self, partition: Partition, offset: int) -> bool:
        offsets = self._letters.get(partition)
        if offsets is None:
            return False
        index = bisect_left(offsets, offset)
        return index < len(offsets) and offsets[index] == offset
