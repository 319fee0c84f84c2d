"""The dataflow that tells the outside: committed events and dead letters to Kafka.

    event_store, in commit order ─┐
                                  ├─▶ topic (envelopes, confirmed by the broker) ─▶ checkpoint
    dead letters not yet sent ────┘

Guarantee: at least once, in stream order per key, every event under the same id each time. Only
what is committed leaves. `python -m bytewax.run flows.publish:flow` runs it; `settler run publish`
runs it with a lease, signals and metrics around it.
"""

import base64
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import bytewax.operators as op
import msgspec
import structlog
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import cluster_main
from confluent_kafka import KafkaError, Producer
from prometheus_client import Counter, Gauge
from typing_extensions import override

from connectors.postgres.checkpoints import (
    advance_projection_checkpoint,
    read_projection_checkpoint,
)
from connectors.postgres.connections import connect, url_of
from connectors.postgres.dead_letters import StoredDeadLetter, mark_published, read_unpublished
from connectors.postgres.reading import read_batches, read_head
from connectors.postgres.records import Batch
from connectors.postgres.store import PostgresStore
from connectors.settings import Settings
from connectors.telemetry import (
    TRACEPARENT,
    configure_logging,
    configure_tracing,
    start_metrics_server,
)
from domain.naming import name_events
from domain.transactions import SIDE_NAMES
from flows.lease import Lease

log = structlog.get_logger(__name__)

CHECKPOINT = "publish"
EPOCH = timedelta(seconds=0.5)
_BATCHES_MAX = 20
_LETTERS_MAX = 500
_POLL = timedelta(milliseconds=100)
_FLUSH_SECONDS = 2.0
_EXIT_LEASE_LOST = 3

SENT = Counter("settler_publish_sent_total", "Messages the broker has confirmed", ["topic"])
LAG = Gauge("settler_publish_lag_events", "Committed events not published yet")

Item = Batch | StoredDeadLetter


class PublishStore(PostgresStore):
    """What publishing reads and writes. Not for several threads at once."""

    def position(self) -> int:
        """The last position published."""
        return self._run(
            "read the publisher's checkpoint",
            lambda conn: read_projection_checkpoint(conn, CHECKPOINT),
        )

    def advance(self, expected: int, position: int) -> None:
        """Note that everything up to `position` is published."""
        self._run(
            "move the publisher's checkpoint",
            lambda conn: advance_projection_checkpoint(conn, CHECKPOINT, expected, position),
        )

    def head(self) -> int:
        """The log's last position."""
        return self._run("read the log's head", read_head)

    def batches(self, after: int) -> list[Batch]:
        """The next batches, without their journals."""
        return self._run(
            "read the log",
            lambda conn: read_batches(conn, after, _BATCHES_MAX, with_journal=False),
        )

    def letters(self) -> list[StoredDeadLetter]:
        """Dead letters not sent yet, oldest first."""
        return self._run("read dead letters", lambda conn: read_unpublished(conn, _LETTERS_MAX))

    def mark(self, letters: list[StoredDeadLetter]) -> None:
        """Note that dead letters are sent."""
        self._run("mark dead letters", lambda conn: mark_published(conn, letters))


def _store(settings: Settings, stop: threading.Event) -> PublishStore:
    url = url_of(settings, "projections")
    return PublishStore(lambda: connect(url, "projections", "settler-publish"), stop.wait)


class LogPart(StatefulSourcePartition[Item, None]):
    """The log from the checkpoint on, and dead letters; one reader for all."""

    def __init__(self, store: PublishStore, stop: threading.Event) -> None:
        self._store = store
        self._stop = stop
        self._position = store.position()
        self._next_awake: datetime | None = None

    @override
    def next_batch(self) -> list[Item]:
        if self._stop.is_set():
            raise StopIteration
        batches = self._store.batches(self._position)
        if batches:
            self._position = batches[-1].last_position
        letters = self._store.letters()
        LAG.set(self._store.head() - self._position)
        self._next_awake = None if batches or letters else datetime.now(UTC) + _POLL
        return [*batches, *letters]

    @override
    def next_awake(self) -> datetime | None:
        return self._next_awake

    @override
    def snapshot(self) -> None:
        return None


class LogSource(FixedPartitionedSource[Item, None]):
    """What is committed and not yet told."""

    def __init__(self, part: Callable[[], LogPart]) -> None:
        self._part = part

    @override
    def list_parts(self) -> list[str]:
        return ["log"]

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: None) -> LogPart:
        return self._part()


def envelopes(batch: Batch) -> list[tuple[dict[str, Any], list[tuple[str, bytes]]]]:
    """A batch's events as messages: the envelope and the headers of each."""
    traceparent = batch.metadata.get(TRACEPARENT)
    messages = []
    for envelope in name_events(msgspec.structs.asdict(batch)):
        headers = [
            ("event_type", envelope["event_type"].encode()),
            ("event_id", envelope["event_id"].encode()),
        ]
        if isinstance(traceparent, str):
            headers.append((TRACEPARENT, traceparent.encode()))
        messages.append((envelope, headers))
    return messages


def letter_message(letter: StoredDeadLetter) -> dict[str, Any]:
    """A dead letter as it is published; `raw` is base64, for the bytes may be anything."""
    return {
        "dead_letter_id": letter.dead_letter_id,
        "tenant_id": letter.tenant_id,
        "reconciliation_id": letter.reconciliation_id,
        "transaction_id": letter.transaction_id,
        "side": SIDE_NAMES[letter.side],
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "code": letter.code,
        "message": letter.message,
        "raw": base64.b64encode(letter.raw).decode(),
        "received_at": letter.received_at,
    }


class TopicPart(StatelessSinkPartition[Item]):
    """Sends, waits for the broker's word, then moves the checkpoint."""

    def __init__(self, settings: Settings, store: PublishStore, stop: threading.Event) -> None:
        self._store = store
        self._stop = stop
        self._events = settings.topic("events")
        self._letters = settings.topic("dead-letter")
        self._position = store.position()
        self._failures: list[KafkaError] = []
        self._producer = Producer(
            {
                **settings.kafka_config(),
                "acks": "all",
                # One request at a time keeps a key's order through retries, also with a broker
                # that knows no idempotent producers.
                "max.in.flight": 1,
                "message.timeout.ms": 0,
                "linger.ms": 5,
                "queue.buffering.max.messages": 200_000,
            }
        )

    @override
    def write_batch(self, items: list[Item]) -> None:
        letters: list[StoredDeadLetter] = []
        position = self._position
        for item in items:
            if isinstance(item, Batch):
                for envelope, headers in envelopes(item):
                    self._send(self._events, item.stream_id, envelope, headers)
                position = item.last_position
            else:
                key = f"{item.tenant_id or ''}/{item.reconciliation_id or ''}"
                self._send(self._letters, key, letter_message(item), [("code", item.code.encode())])
                letters.append(item)
        self._confirm()
        if position != self._position:
            self._store.advance(self._position, position)
            self._position = position
        if letters:
            self._store.mark(letters)

    def _send(
        self, topic: str, key: str, message: dict[str, Any], headers: list[tuple[str, bytes]]
    ) -> None:
        value = msgspec.json.encode(message)
        while True:
            try:
                self._producer.produce(
                    topic,
                    value,
                    key=key.encode(),
                    headers=cast("Any", headers),
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            SENT.labels(message.topic()).inc()
        else:
            self._failures.append(error)

    def _confirm(self) -> None:
        """Wait for every message; nothing is noted as sent before."""
        while left := self._producer.flush(_FLUSH_SECONDS):
            log.warning("publish.waiting", messages=left, hint="the broker has not confirmed them")
            if self._stop.is_set():
                raise InterruptedError("told to stop while the broker is away; nothing is noted")
        if self._failures:
            raise RuntimeError(f"the broker refused messages: {self._failures[0]}")


class TopicSink(DynamicSink[Item]):
    """The topics of events and dead letters."""

    def __init__(self, part: Callable[[], TopicPart]) -> None:
        self._part = part

    @override
    def build(self, step_id: str, worker_index: int, worker_count: int) -> TopicPart:
        return self._part()


def build_flow(settings: Settings, stop: threading.Event) -> Dataflow:
    """Wire the dataflow; one worker does it all, for the log has one order."""
    flow = Dataflow("settler_publish")
    told = op.input("log", flow, LogSource(lambda: LogPart(_store(settings, stop), stop)))
    sink = TopicSink(lambda: TopicPart(settings, _store(settings, stop), stop))
    op.output("topics", told, sink)
    return flow


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _lost(error: BaseException) -> None:
    log.error("publish.ended", problem=str(error), hint="another publisher goes on from here")
    os._exit(_EXIT_LEASE_LOST)


def main(settings: Settings) -> int:
    """Publish until SIGTERM; return the exit code."""
    configure_logging(settings, "publish")
    configure_tracing(settings, "publish")
    start_metrics_server(settings.metrics_port_for("publish"), settings.metrics_host)
    stop = _stop_on_signals()
    lease = Lease(settings, "projections", "publish", stop, _lost)
    lease.hold()
    log.info("publish.started")
    run = cast("Callable[..., None]", cluster_main)  # Bytewax does not type it
    run(build_flow(settings, stop), [], 0, epoch_interval=EPOCH)
    lease.release()
    log.info("publish.stopped")
    return 0


def __getattr__(name: str) -> Any:
    """`flow`, made when it is asked for: importing this module reads no settings."""
    if name != "flow":
        raise AttributeError(name)
    settings = Settings.load()
    configure_logging(settings, "publish")
    return build_flow(settings, _stop_on_signals())
