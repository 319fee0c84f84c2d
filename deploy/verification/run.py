"""Verification: one moment of the database, then Kafka up to the offsets committed in it."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from heapq import merge
from typing import Any

import msgspec
from psycopg import Connection

from connectors.kafka_reading import KafkaUnreadable, Partition, TopicReader
from connectors.postgres import verification as stored
from connectors.postgres.errors import SnapshotDamaged
from connectors.postgres.journal import decode_journal
from connectors.postgres.reading import read_head
from connectors.postgres.snapshots import from_column
from connectors.postgres.verification import StoredAnchor, StreamRow
from deploy.verification.kafka import KafkaFound, KafkaSide
from domain.errors import SettlerError
from domain.verification.anchors import Anchor, read_anchor
from domain.verification.difference import RESTORE_LOG, Difference, Where
from domain.verification.letters import Letters, TopicReset
from domain.verification.recount import Reach, Recount, StreamRecount
from domain.verification.stream import StoredBatch, StreamAudit, check_follows
from domain.verification.totals import Totals
from projections.agreement import ReadModels, Shown, compare, read_models

REBUILD_ALL = (
    "The log was restored to an earlier moment than its read models: rebuild them with settler "
    "projections rebuild --all."
)
#: Told how many events and messages are read, and how many there are.
OnProgress = Callable[[int, int], None]


class StreamUnknown(SettlerError):
    """Nothing in the database has the name asked for."""

    code = "verify.stream_invalid"


class Expired(msgspec.Struct):
    """What of a stream could not be counted again.

    Its batches up to a version were held against each other and against the snapshot of that
    version, without the transactions they accepted.
    """

    version: int
    transactions: int


class Verified(msgspec.Struct):
    """What verification came to.

    Attributes:
        differences: What does not hold, of each stream the first thing its log contradicts.
        head: The position of the newest event.
        read_models_behind: Of each read model, the events it had not taken in; it was compared as
            of before those.
        streams: Totals by stream, of those whose log holds.
        expired: By stream, what could not be counted again because its journal has expired.
    """

    kafka: KafkaFound
    head: int = 0
    batches: int = 0
    read_models_behind: dict[str, int] = {}
    streams: dict[str, Totals] = {}
    expired: dict[str, Expired] = {}
    differences: list[Difference] = []

    @property
    def holds(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.differences


def verify(
    conn: Connection[Any],
    topics: Sequence[str],
    kafka_config: dict[str, str] | None,
    tenant_id: str | None = None,
    reconciliation_id: str | None = None,
    *,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Verified:
    """Recompute every total from the log and from Kafka, and compare.

    A flow may be running: everything in the database is read as of one moment, and Kafka up to the
    offsets committed then. Memory is that of the largest stream's ids, and 9 bytes a transaction
    where Kafka is asked.

    Args:
        conn: Of role settler_operator, in autocommit.
        topics: Of the source and of the target side.
        kafka_config: librdkafka settings of a client; None asks Kafka nothing.
        tenant_id, reconciliation_id: Only these; None means all.

    Raises:
        StreamUnknown: There is no such stream.
    """
    kafka = KafkaSide(kafka_config, topics)
    kafka.identify(stored.list_sources(conn, topics))
    run = _Run(conn, kafka, topics, (tenant_id, reconciliation_id), on_progress)
    with _reader(kafka_config) as reader:
        run.database(reader)
        if reader is not None and kafka.spans:
            run.recount(reader)
    return run.verified


@contextmanager
def _reader(config: dict[str, str] | None) -> Iterator[TopicReader | None]:
    if config is None:
        yield None
        return
    with closing(TopicReader(config)) as reader:
        yield reader


class _Run:
    def __init__(
        self,
        conn: Connection[Any],
        kafka: KafkaSide,
        topics: Sequence[str],
        asked: tuple[str | None, str | None],
        on_progress: OnProgress,
    ) -> None:
        self._conn = conn
        self._kafka = kafka
        self._topics = topics
        self._asked = asked
        self._on_progress = on_progress
        self._done = self._total = 0
        self._resets: list[TopicReset] = []
        self._recounts: dict[str, StreamRecount | None] = {}
        self._letters: Mapping[Partition, array[int]] = {}
        self.verified = Verified(kafka.found)

    def database(self, reader: TopicReader | None) -> None:
        """Read log, streams, dead letters and read models as of one moment."""
        conn, verified = self._conn, self.verified
        with stored.snapshot(conn):
            models = read_models(conn, *self._asked)
            verified.head = read_head(conn)
            streams = stored.list_streams(conn, *self._asked)
            if not streams and any(self._asked):
                named = "/".join(one or "*" for one in self._asked)
                raise StreamUnknown(
                    f"there is no stream {named}; `settler definitions list` shows what there is"
                )
            self._resets = stored.list_resets(conn)
            if reader is not None:
                sources = stored.list_sources(conn, self._topics)
                self._kafka.plan(reader, sources, stored.list_streams(conn, None, None))
            self._total = sum(max(0, one.version) for one in streams) + self._kafka.messages
            self._check_positions()
            self._check_read_models(models, {one.stream_id for one in streams})
            casework, known = _casework_of(streams), {one.stream_id for one in streams}
            for stream in streams:
                try:
                    if stream.is_reconciliation:
                        self._recounts[stream.stream_id] = None
                        self._stream(stream, models, casework.get(stream.stream_id, []))
                    elif not (stream.is_casework and stream.of in known):
                        self._beside(stream)
                except Difference as exc:
                    verified.differences.append(exc)
            self._letters = stored.list_letter_offsets(conn, self._topics)

    def recount(self, reader: TopicReader) -> None:
        """Account for every committed message Kafka still has."""
        recount = Recount(
            self._recounts, self._letters, self._kafka.committed, every=not any(self._asked)
        )
        try:
            self._kafka.read(reader, recount, self._progress)
        except KafkaUnreadable as exc:
            self._kafka.give_up(str(exc))
        except Difference as exc:
            self.verified.differences.append(exc)
        else:
            self.verified.differences.extend(recount.differences())

    def _progress(self, count: int) -> None:
        self._done += count
        self._on_progress(self._done, max(self._done, self._total))

    def _check_positions(self) -> None:
        try:
            self.verified.batches = _count_batches(self._conn, self.verified.head)
        except Difference as exc:
            self.verified.differences.append(exc)

    def _check_read_models(self, models: ReadModels, stream_ids: set[str]) -> None:
        """Note how far behind the log each read model is; none can be ahead, or know of more."""
        head, differences = self.verified.head, self.verified.differences
        differences.extend(
            Difference(
                "read_models",
                "the read models show it, the log has nothing of it",
                Where(stream_id),
                REBUILD_ALL,
            )
            for stream_id in sorted(models.shown.keys() - stream_ids)
        )
        for name, position in models.positions.items():
            self.verified.read_models_behind[name] = max(0, head - position)
            if position > head:
                differences.append(
                    Difference(
                        "read_models",
                        f"{name} shows events up to position {position}, the log ends at {head}",
                        Where(),
                        REBUILD_ALL,
                    )
                )

    def _stream(self, stream: StreamRow, models: ReadModels, casework: list[str]) -> None:
        """Verify a reconciliation's stream with those of its exceptions, and its read models."""
        if stream.version < 0:
            raise Difference(
                "log", "the log has batches of a stream without a row", Where(stream.stream_id)
            )
        scope = (stream.tenant_id, stream.reconciliation_id)
        letters = Letters(stored.list_letters(self._conn, *scope), self._resets)
        reach = Reach(self._kafka.first_offsets, self._resets)
        recount = StreamRecount(stream.stream_id, reach)
        anchor = _anchor_of(stored.read_anchor(self._conn, stream.stream_id), stream.stream_id)
        audit = StreamAudit(
            *scope,
            decode_journal,
            letters,
            self._resets,
            recount.take_in,
            anchor,
            recount.pass_over,
        )
        if anchor is not None:
            recount.know(anchor.contents)
        shown_to = sorted(set(models.positions.values()))
        at: dict[int, Totals] = {}
        of_matching = ((None, one) for one in stored.read_stream(self._conn, stream.stream_id))
        of_people = stored.read_casework(self._conn, casework)
        for of_exception, batch in merge(of_matching, of_people, key=_first_position):
            while shown_to and batch.first_position > shown_to[0]:
                at[shown_to.pop(0)] = audit.totals()
            if of_exception is None:
                audit.read(batch)
            else:
                audit.read_casework(of_exception, batch)
            self._progress(batch.event_count)
        totals = audit.end(stream.version, stream.next_offsets)
        if anchor is not None:
            self.verified.expired[stream.stream_id] = Expired(anchor.version, audit.unseen)
        recount.seal(stream.next_offsets)
        self._recounts[stream.stream_id] = recount
        self.verified.streams[stream.stream_id] = totals
        logged = {
            name: at.get(position, totals)
            for name, position in models.positions.items()
            if position <= self.verified.head
        }
        shown = models.shown.get(stream.stream_id, Shown())
        self.verified.differences.extend(compare(stream.stream_id, shown, logged))

    def _beside(self, stream: StreamRow) -> None:
        """Verify that a stream of another kind follows on; what it says concerns no totals."""
        version = position = 0
        for batch in stored.read_stream(self._conn, stream.stream_id):
            check_follows(stream.stream_id, batch, version, position)
            version, position = version + batch.event_count, batch.last_position
            self._progress(batch.event_count)
        if stream.version not in (-1, version):
            raise Difference(
                "log",
                f"the row of streams is at version {stream.version}, the log ends at {version}",
                Where(stream.stream_id, version, position),
            )


def _anchor_of(found: StoredAnchor | None, stream_id: str) -> Anchor | None:
    """Restore the snapshot that stands in for expired journals.

    Raises:
        Difference: It is not there, or cannot be read.
    """
    if found is None:
        return None
    where = Where(stream_id, found.version)
    if found.state is None or found.format is None:
        raise Difference(
            "journal",
            f"journals up to version {found.version} have expired, and the snapshot that stands in "
            "for them is not there",
            where,
            RESTORE_LOG,
        )
    try:
        state = from_column(stream_id, found.version, found.format, found.state)
        return read_anchor(state, *stream_id.split("/"))
    except (ValueError, LookupError, TypeError, msgspec.DecodeError, SnapshotDamaged) as exc:
        problem = exc.problem if isinstance(exc, SnapshotDamaged) else exc
        raise Difference(
            "journal",
            f"the snapshot that stands in for expired journals cannot be read: {problem}",
            where,
            RESTORE_LOG,
        ) from exc


def _first_position(read: tuple[str | None, StoredBatch]) -> int:
    return read[1].first_position


def _casework_of(streams: Sequence[StreamRow]) -> dict[str, list[str]]:
    """Give the streams of exceptions by that of the reconciliation they are of."""
    casework: dict[str, list[str]] = {}
    for stream in streams:
        if stream.is_casework:
            casework.setdefault(stream.of, []).append(stream.stream_id)
    return casework


def _count_batches(conn: Connection[Any], head: int) -> int:
    """Count the batches of the log, whose positions follow on from 1 to the head.

    Raises:
        Difference: They do not.
    """
    position = batches = 0
    for place in stored.read_places(conn):
        if place.first_position != position + 1:
            raise Difference(
                "log",
                f"position {position + 1} was to follow, the next batch begins at "
                f"{place.first_position}",
                Where(place.stream_id, place.base_version + 1, place.first_position),
            )
        position, batches = place.last_position, batches + 1
    if position != head:
        raise Difference(
            "log",
            f"the log ends at position {position}, its head says {head}",
            Where(global_position=position),
        )
    return batches
