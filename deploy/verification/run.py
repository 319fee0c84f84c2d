"""Verification: one moment of the database, then Kafka up to the offsets committed in it."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec
from psycopg import Connection

from connectors.kafka_reading import TopicReader
from connectors.postgres import verification as stored
from connectors.postgres.reading import read_head
from connectors.postgres.verification import StreamRow
from connectors.settings import Settings
from deploy.verification.kafka import KafkaFound, KafkaSide, clock_us
from domain.errors import SettlerError
from domain.verification.difference import Difference, Where
from domain.verification.letters import Letters, TopicReset
from domain.verification.recount import Reach, Recount, StreamRecount
from domain.verification.stream import StreamAudit, check_follows
from domain.verification.totals import Totals
from projections.agreement import Agreement, read_positions

#: Told how many events and messages are read, and how many there are.
OnProgress = Callable[[int, int], None]


class StreamUnknown(SettlerError):
    """Nothing in the database has the name asked for."""

    code = "verify.stream_invalid"


class Verified(msgspec.Struct):
    """What verification came to.

    Attributes:
        difference: The first thing that does not hold; None when everything does.
        head: The position of the newest event.
        read_models: "agree", or why they were not compared.
        read_models_behind: Events they had not taken in; they were compared as of before those.
        streams: Totals by stream, of those read before a difference was found.
    """

    kafka: KafkaFound
    head: int = 0
    batches: int = 0
    read_models: str = "agree"
    read_models_behind: int = 0
    streams: dict[str, Totals] = {}
    difference: Difference | None = None

    @property
    def holds(self) -> bool:
        """Whether nothing was found wrong."""
        return self.difference is None


def verify(
    conn: Connection[Any],
    settings: Settings,
    tenant_id: str | None = None,
    reconciliation_id: str | None = None,
    *,
    with_kafka: bool = True,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Verified:
    """Recompute every total from the log and from Kafka, and compare.

    A flow may be running: everything in the database is read as of one moment, and Kafka up to the
    offsets committed then.

    Args:
        conn: Of role settler_operator, in autocommit.
        tenant_id, reconciliation_id: Only these; None means all.

    Raises:
        StreamUnknown: There is no such stream.
        KafkaUnreadable: Kafka stopped giving what it had.
    """
    topics = [settings.topic(f"transactions.{side}") for side in ("source", "target")]
    config = settings.kafka_config() if with_kafka else None
    kafka = KafkaSide(config, topics)
    kafka.identify(stored.list_sources(conn, topics))
    run = _Run(conn, kafka, topics, on_progress)
    with _reader(config) as reader:
        try:
            run.database(reader, tenant_id, reconciliation_id)
            if reader is not None and kafka.spans:
                run.recount(reader, every=tenant_id is None and reconciliation_id is None)
        except Difference as exc:
            run.verified.difference = exc
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
        topics: list[str],
        on_progress: OnProgress,
    ) -> None:
        self._conn = conn
        self._kafka = kafka
        self._topics = topics
        self._on_progress = on_progress
        self._done = self._total = 0
        self._resets: list[TopicReset] = []
        self._recounts: dict[str, StreamRecount] = {}
        self._letters: dict[tuple[str, int], Any] = {}
        self.verified = Verified(kafka.found)

    def database(
        self, reader: TopicReader | None, tenant_id: str | None, reconciliation_id: str | None
    ) -> None:
        """Read log, streams, dead letters and read models as of one moment."""
        conn, verified = self._conn, self.verified
        with stored.snapshot(conn):
            verified.head = read_head(conn)
            streams = stored.list_streams(conn, tenant_id, reconciliation_id)
            if not streams and (tenant_id or reconciliation_id):
                named = "/".join(one or "*" for one in (tenant_id, reconciliation_id))
                raise StreamUnknown(
                    f"there is no stream {named}; `settler definitions list` shows what there is"
                )
            self._resets = stored.list_resets(conn)
            if reader is not None:
                sources = stored.list_sources(conn, self._topics)
                self._kafka.plan(reader, sources, stored.list_streams(conn, None, None))
            self._total = sum(max(0, one.version) for one in streams) + self._kafka.messages
            verified.batches = _check_positions(conn, verified.head)
            shown_to = self._read_models_position(conn)
            for stream in streams:
                if stream.is_reconciliation:
                    verified.streams[stream.stream_id] = self._stream(stream, shown_to)
                else:
                    self._beside(stream)
            self._letters = stored.list_letter_offsets(conn, self._topics)

    def recount(self, reader: TopicReader, *, every: bool) -> None:
        """Account for every committed message Kafka still has."""
        recount = Recount(
            self._recounts, self._letters, self._kafka.committed, every=every, now_us=clock_us()
        )
        self._kafka.read(reader, recount, self._progress)
        for stream in self._recounts.values():
            stream.end()

    def _progress(self, count: int) -> None:
        self._done += count
        self._on_progress(self._done, max(self._done, self._total))

    def _read_models_position(self, conn: Connection[Any]) -> int | None:
        """The position the read models have all come to; None when they have not."""
        positions = read_positions(conn)
        lowest = min(positions.values())
        self.verified.read_models_behind = self.verified.head - lowest
        if lowest != max(positions.values()):
            self.verified.read_models = "not compared: they stand at different positions"
            return None
        return lowest

    def _stream(self, stream: StreamRow, shown_to: int | None) -> Totals:
        """Verify a reconciliation's stream, and its read models as of their position."""
        if stream.version < 0:
            raise Difference(
                "log", "the log has batches of a stream without a row", Where(stream.stream_id)
            )
        scope = (stream.tenant_id, stream.reconciliation_id)
        letters = Letters(stored.list_letters(self._conn, *scope), self._resets)
        reach = Reach(self._kafka.first_offsets, self._resets)
        recount = StreamRecount(stream.stream_id, reach)
        audit = StreamAudit(*scope, letters, self._resets, recount.take_in)
        shown: Totals | None = None
        for batch in stored.read_stream(self._conn, stream.stream_id):
            if shown is None and shown_to is not None and batch.first_position > shown_to:
                shown = audit.totals()
            audit.read(batch)
            self._progress(batch.event_count)
        totals = audit.end(stream.version, stream.next_offsets)
        recount.seal(stream.next_offsets)
        self._recounts[stream.stream_id] = recount
        if shown_to is not None:
            Agreement(self._conn, *scope, shown or totals).check()
        return totals

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


def _check_positions(conn: Connection[Any], head: int) -> int:
    """Check that positions follow on from 1 to the head; returns the number of batches."""
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
