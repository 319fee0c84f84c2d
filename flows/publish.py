"""The dataflow that tells the outside: committed events and dead letters to Kafka.

                 ┌─ events ──▶ topic `events` ──────▶ checkpoint `publish`
    committed ───┤
                 └─ letters ─▶ topic `dead-letter` ─▶ published_at

Guarantee: at least once, in stream order per key, every event under the same id each time. Only
what is committed leaves, and only what the broker has confirmed counts as sent. One publisher holds
the lease, others stand by. `python -m bytewax.run flows.publish:flow` runs it; `settler run
publish` runs it with signals and metrics around it.
"""

import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard, cast

import bytewax.operators as op
import structlog
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import cluster_main
from prometheus_client import Counter, Gauge, Histogram
from typing_extensions import override

from connectors.kafka_sending import ConfirmedTopic, SendInterrupted
from connectors.postgres.connections import WaitInterrupted, url_of
from connectors.postgres.dead_letters import StoredDeadLetter
from connectors.postgres.errors import CheckpointMoved
from connectors.postgres.publishing import PublishingStore, connect_migrated
from connectors.postgres.records import Batch
from connectors.settings import Settings
from connectors.telemetry import configure_logging, configure_tracing, start_metrics_server
from flows.clock import WatchForStepsBack
from flows.lease import Lease
from flows.publications import event_messages, letter_messages

log = structlog.get_logger(__name__)

LEASE = "publish"
EPOCH = timedelta(seconds=0.5)
# What is sent between two checkpoints, and sent again after a crash: about a tenth of a second.
_EVENTS_MAX = 5_000
_LETTERS_MAX = 100
_POLL = timedelta(milliseconds=100)
_LAG_SECONDS = 1.0
_EXIT_FENCED = 3

EVENTS = Counter("settler_publish_events_total", "Events the broker has confirmed")
LETTERS = Counter("settler_publish_dead_letters_total", "Dead letters the broker has confirmed")
POSITION = Gauge("settler_publish_position", "Position of the last event published")
LAG_EVENTS = Gauge("settler_publish_lag_events", "Committed events not published yet")
SECONDS = Histogram(
    "settler_publish_seconds",
    "Seconds from sending events to the checkpoint behind them",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)

Item = Batch | StoredDeadLetter


class Publisher:
    """What the process holds besides the dataflow: lease, stores, and whether it has given up."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stop = threading.Event()
        #: Told to stop before something could be sent: nothing after it is sent either.
        self.abandoned = threading.Event()
        #: Dead letters given out and not marked yet.
        self.letters_on_the_way: set[str] = set()
        self._lease = Lease(settings, "projections", LEASE, self.stop, self.die)

    def stop_on_signals(self) -> None:
        """Drain on SIGTERM and Ctrl-C: what is read is sent, if the broker is there."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())

    def hold_lease(self) -> bool:
        """Stand by until publishing is ours; False when told to stop before."""
        try:
            self._lease.hold()
        except WaitInterrupted:
            return False
        threading.Thread(target=self._watch_lag, name="lag", daemon=True).start()
        WatchForStepsBack(self.die).start(self.stop)
        log.info("publish.started")
        return True

    def release_lease(self) -> None:
        """Let a standby take over at once; without a database it does when the lease runs out."""
        try:
            self._lease.release()
        except WaitInterrupted as exc:
            log.warning("lease.not_released", lease=LEASE, problem=str(exc))

    def give_up_lease(self) -> None:
        """See `Lease.give_up`."""
        self._lease.give_up()

    def new_store(self) -> PublishingStore:
        """A store for one part of the dataflow."""
        url = url_of(self.settings, "projections")
        return PublishingStore(lambda: connect_migrated(url, "settler-publish"), self.stop.wait)

    def new_topic(self, name: str) -> ConfirmedTopic:
        """A topic to send to."""
        settings = self.settings
        return ConfirmedTopic(settings.kafka_config(), settings.topic(name), self.stop)

    def abandon(self, problem: Exception) -> None:
        """Leave the rest for the next start."""
        self.abandoned.set()
        log.warning(
            "publish.unfinished",
            problem=str(problem),
            hint="nothing is lost: the next start sends it under the same ids",
        )

    def die(self, error: BaseException) -> None:
        """End at once: another publisher goes on from here."""
        log.error("publish.ended", problem=str(error), kind=type(error).__name__)
        os._exit(_EXIT_FENCED)

    def _watch_lag(self) -> None:
        # From a thread of its own, so that the lag grows while an absent broker holds the flow up.
        store = self.new_store()
        try:
            while not self.stop.wait(_LAG_SECONDS):
                LAG_EVENTS.set(store.read_lag())
        except WaitInterrupted:
            return


class CommittedPart(StatefulSourcePartition[Item, None]):
    """The log after the checkpoint in commit order, and dead letters not published; one reader."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._store = publisher.new_store()
        self._position: int | None = None
        self._next_awake: datetime | None = None

    @override
    def next_batch(self) -> list[Item]:
        try:
            items = self._read()
        except WaitInterrupted as exc:
            log.info("publish.stopping", problem=str(exc))
            items = []
        if self._publisher.stop.is_set():
            raise StopIteration
        self._next_awake = None if items else datetime.now(UTC) + _POLL
        return items

    def _read(self) -> list[Item]:
        if self._publisher.stop.is_set():
            return []
        if self._position is None:
            # Held before the checkpoint is read, so that nobody moves it afterwards.
            if not self._publisher.hold_lease():
                return []
            self._position = self._store.read_position()
            POSITION.set(self._position)
        batches = self._store.read_unsent(self._position, _EVENTS_MAX)
        if batches:
            self._position = batches[-1].last_position
        on_the_way = self._publisher.letters_on_the_way
        letters = [
            letter
            for letter in self._store.read_unsent_letters(_LETTERS_MAX)
            if letter.dead_letter_id not in on_the_way
        ]
        on_the_way.update(letter.dead_letter_id for letter in letters)
        return [*batches, *letters]

    @override
    def next_awake(self) -> datetime | None:
        return self._next_awake

    @override
    def snapshot(self) -> None:
        return None

    @override
    def close(self) -> None:
        self._store.close()


class CommittedSource(FixedPartitionedSource[Item, None]):
    """What is committed and not told yet. One partition, for the log has one order."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @override
    def list_parts(self) -> list[str]:
        return ["committed"]

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: None) -> CommittedPart:
        return CommittedPart(self._publisher)


class EventsPart(StatelessSinkPartition[Batch]):
    """Sends events, waits for the broker's word, then moves the checkpoint."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._store = publisher.new_store()
        self._topic = publisher.new_topic("events")

    @override
    def write_batch(self, items: list[Batch]) -> None:
        if self._publisher.abandoned.is_set():
            return
        try:
            with SECONDS.time():
                sent = self._topic.send(lambda: event_messages(items))
                self._store.advance(items[0].first_position - 1, items[-1].last_position)
        except (SendInterrupted, WaitInterrupted) as exc:
            self._publisher.abandon(exc)
        except CheckpointMoved as exc:
            self._publisher.die(exc)
        else:
            EVENTS.inc(sent)
            POSITION.set(items[-1].last_position)

    @override
    def close(self) -> None:
        self._topic.close()
        self._store.close()


class LettersPart(StatelessSinkPartition[StoredDeadLetter]):
    """Sends dead letters, waits for the broker's word, then marks them."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._store = publisher.new_store()
        self._topic = publisher.new_topic("dead-letter")

    @override
    def write_batch(self, items: list[StoredDeadLetter]) -> None:
        if self._publisher.abandoned.is_set():
            return
        try:
            sent = self._topic.send(lambda: letter_messages(items))
            self._store.mark_letters(items)
        except (SendInterrupted, WaitInterrupted) as exc:
            self._publisher.abandon(exc)
        else:
            LETTERS.inc(sent)
            self._publisher.letters_on_the_way.difference_update(
                letter.dead_letter_id for letter in items
            )

    @override
    def close(self) -> None:
        self._topic.close()
        self._store.close()


class EventsSink(DynamicSink[Batch]):
    """The topic of events; used by the one worker that reads."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @override
    def build(self, step_id: str, worker_index: int, worker_count: int) -> EventsPart:
        return EventsPart(self._publisher)


class LettersSink(DynamicSink[StoredDeadLetter]):
    """The topic of dead letters; used by the one worker that reads."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @override
    def build(self, step_id: str, worker_index: int, worker_count: int) -> LettersPart:
        return LettersPart(self._publisher)


def is_batch(item: Item) -> TypeGuard[Batch]:
    """Say whether it is events rather than a dead letter."""
    return isinstance(item, Batch)


def build_flow(publisher: Publisher) -> Dataflow:
    """Wire the dataflow.

    Args:
        publisher: What its parts share.
    """
    flow = Dataflow("settler_publish")
    committed = op.input("committed", flow, CommittedSource(publisher))
    kinds = op.branch("kinds", committed, is_batch)
    op.output("events", kinds.trues, EventsSink(publisher))
    letters = cast("Stream[StoredDeadLetter]", kinds.falses)
    op.output("dead_letters", letters, LettersSink(publisher))
    return flow


def main(settings: Settings) -> int:
    """Publish until SIGTERM or Ctrl-C; return the exit code."""
    configure_logging(settings, "publish")
    configure_tracing(settings, "publish")
    start_metrics_server(settings.metrics_port_for("publish"), settings.metrics_host)
    publisher = Publisher(settings)
    publisher.stop_on_signals()
    run = cast("Callable[..., None]", cluster_main)  # Bytewax does not type it
    try:
        run(build_flow(publisher), [], 0, epoch_interval=EPOCH)
    except BaseException:
        publisher.give_up_lease()
        raise
    publisher.release_lease()
    log.info("publish.stopped")
    return 0


def __getattr__(name: str) -> Any:
    """`flow`, made when it is asked for: importing this module reads no settings."""
    if name != "flow":
        raise AttributeError(name)
    settings = Settings.load()
    configure_logging(settings, "publish")
    configure_tracing(settings, "publish")
    publisher = Publisher(settings)
    publisher.stop_on_signals()
    return build_flow(publisher)
