"""Kafka's messages held against the log: each accepted, redelivered or a dead letter, none twice.

Accepted content is remembered as 64-bit digests in sorted arrays, 9 bytes a transaction, so that a
log of tens of millions fits in memory beside nothing else. Messages are read field by field, not by
the fast reading the flow uses: what that one misread would show here as a message nobody accepted.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from domain.events import TransactionsAccepted
from domain.record_json import FieldRefused, read_json_fields
from domain.transactions import SIDE_NAMES, Rejection, Transaction, build_transaction
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
        expired_before: The offsets below which journals have expired, by "topic/partition".
    """

    def __init__(self, stream_id: str, reach: Reach) -> None:
        self.stream_id = stream_id
        self.next_offsets: Mapping[str, int] = {}
        self.expired_before: dict[str, int] = {}
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

    def pass_over(self, event: TransactionsAccepted) -> None:
        """Note a chunk whose journal has expired: its messages cannot be told apart any more."""
        for place, (_, following) in event.offsets.items():
            self.expired_before[place] = following

    def know(self, contents: Iterable[bytes]) -> None:
        """Recognise contents that expired journals held and that can still be redelivered."""
        self._digests.extend([xxh3_64_intdigest(packed) & _DIGEST for packed in contents])

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
        digest = xxh3_64_intdigest(one.packed) | 1
        index = bisect_right(self._digests, digest) - 1
        if index < 0 or self._digests[index] | 1 != digest:
            return None
        # A forgotten id may have been accepted again; what Kafka must still have stands last.
        while self._seen[index]:
            index -= 1
            if index < 0 or self._digests[index] | 1 != digest:
                return "redelivered"
        self._seen[index] = 1
        key = (one.side, one.currency)
        self.found.setdefault(key, Tally()).add(1, one.amount_minor)
        if self._digests[index] & 1:
            self._awaited_found.setdefault(key, Tally()).add(1, one.amount_minor)
        return "accepted"

    def differences(self) -> Iterator[Difference]:
        """Hold what was found against what the log told: Kafka may have neither more nor less."""
        where = Where(self.stream_id)
        for place, span in self._spans.items():
            if span.told != span.found:
                yield Difference(
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
                yield Difference(
                    "kafka",
                    f"the log accepted {told.count} {SIDE_NAMES[side]} transactions in {currency} "
                    f"with a sum of {told.sum_minor} minor units from what Kafka still has, of "
                    f"which {found.count} with {found.sum_minor} are there",
                    where,
                    KEEP_AND_REPORT,
                )


class _Lost(NamedTuple):
    """The first message of a stream and partition that nothing accounts for."""

    offset: int
    side: int
    transaction_id: str | None
    more: int = 0


class Recount:
    """Reads messages and accounts for each.

    Args:
        streams: Of the reconciliations verified, sealed; None for one whose log does not hold, and
            whose messages are passed over.
        letters: Offsets of dead letters by partition, ascending.
        committed: Up to which offset everything of a partition is committed, whoever it is for.
        every: Whether all streams are verified, so that messages for none of them are looked at.

    Attributes:
        messages: How many were read.
        outcomes: accepted, redelivered, dead_letter, expired → how many messages; expired, where
            there are any, are those of chunks whose journals are gone.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamRecount | None],
        letters: Mapping[Partition, "array[int]"],
        committed: Mapping[Partition, int],
        *,
        every: bool,
    ) -> None:
        self._streams = streams
        self._letters = letters
        self._committed = committed
        self._every = every
        self._lost: dict[tuple[str | None, str], _Lost] = {}
        self.messages = 0
        self.outcomes = {"accepted": 0, "redelivered": 0, "dead_letter": 0}

    def read(self, partition: Partition, side: int, offset: int, value: bytes) -> None:
        """Account for one message; those of a partition come in offset order."""
        one = _read_exactly(value, side, offset)
        stream_id = f"{one.tenant_id}/{one.reconciliation_id}"
        stream = self._streams.get(stream_id)
        if stream is None and (stream_id in self._streams or not self._every):
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
            if offset < stream.expired_before.get(place, 0):
                self.outcomes["expired"] = self.outcomes.get("expired", 0) + 1
                return
            stream.pass_by(place, offset)
            if isinstance(one, Transaction):
                outcome = stream.recognise(one)
        if outcome is None and self._has_letter(partition, offset):
            outcome = "dead_letter"
        if outcome is not None:
            self.outcomes[outcome] += 1
            return
        key = (None if stream is None else stream_id, place)
        first = self._lost.get(key)
        if first is None:
            self._lost[key] = _Lost(offset, side, one.transaction_id)
        else:
            self._lost[key] = first._replace(more=first.more + 1)

    def differences(self) -> Iterator[Difference]:
        """Give what does not add up, once every message was read."""
        for (stream_id, place), lost in self._lost.items():
            named = lost.transaction_id or "without a readable id"
            others = f", and so are {lost.more} behind it" if lost.more else ""
            yield Difference(
                "kafka",
                f"the message at {place}, offset {lost.offset} ({SIDE_NAMES[lost.side]} "
                f"transaction {named}) is committed, yet neither accepted nor a dead letter"
                f"{others}",
                Where(stream_id),
                "A record was lost: keep the topics and the database as they are. Sent again under "
                "its id the record is taken in.",
            )
        for stream_id, stream in self._streams.items():
            # What is lost is missing from its stream's counts, too, and was said.
            if stream is not None and not any(stream_id == of for of, _ in self._lost):
                yield from stream.differences()

    def _has_letter(self, partition: Partition, offset: int) -> bool:
        offsets = self._letters.get(partition)
        if offsets is None:
            return False
        index = bisect_left(offsets, offset)
        return index < len(offsets) and offsets[index] == offset


def _read_exactly(value: bytes, side: int, offset: int) -> Transaction | Rejection:
    """Read a message without a clock: what was too far ahead once may not be any more."""
    try:
        fields = read_json_fields(value)
    except FieldRefused as problem:
        return Rejection(problem.code, str(problem), None, None, None, side, value, offset)
    return build_transaction(fields, side, None, value, offset)
