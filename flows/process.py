"""What one process of the flow holds besides the dataflow: stores, writer, lease, progress."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from connectors.kafka import TopicIdentity, TopicPart, describe_topic
from connectors.kafka_ends import EndOffsets
from connectors.kafka_group import GroupOffsets
from connectors.kafka_losses import ask_first_offsets, check_nothing_is_gone
from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.connections import WaitInterrupted, connect, url_of
from connectors.postgres.store import PostgresStore
from connectors.postgres.streams import database_time_us, due_streams
from connectors.settings import Settings
from flows.clock import DatabaseClock, WatchForStepsBack
from flows.control import ControlPart
from flows.inputs import Part
from flows.lease import Lease
from flows.membership import Membership
from flows.progress import Progress, ProgressThreads
from flows.storing import Writer
from flows.surroundings import Surroundings

log = structlog.get_logger(__name__)

SIDES = ("source", "target")
_EXIT_FENCED = 3
# What the end of a flow waits at most for its last offsets to be shown.
_GROUP_SECONDS = 2.0


class FlowStore(PostgresStore):
    """The store with what the control part asks of it besides."""

    def read_due(self, until_us: int, limit: int) -> list[str]:
        """Streams that asked to be woken by then."""
        return self._run(
            "read due streams",
            lambda conn: [one for one, _ in due_streams(conn, until_us, limit)],
        )

    def time_us(self) -> int:
        """The database's clock, microseconds since the epoch."""
        return self._run("read the time", database_time_us)


class FlowProcess:
    """One process of the flow; everything is made at first need, on the process that needs it.

    Args:
        clustered: Other processes read and write beside this one.

    Attributes:
        clock: The time by which everything is decided; told before any record is read.
    """

    def __init__(self, settings: Settings, *, clustered: bool) -> None:
        self.clock = DatabaseClock()
        self._settings = settings
        self.clustered = clustered
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._writer: Writer | None = None
        self._topics: dict[str, TopicIdentity] = {}
        self._offsets: dict[tuple[str, int], int] = {}
        self._firsts: dict[tuple[str, int], int] = {}
        self._progress: Progress | None = None
        self._group: GroupOffsets | None = None
        self._parts: list[TopicPart] = []
        self._lease = Lease(settings, "flow", settings.lease_name, self._stop, self._die)

    # -- stopping --

    def stop_on_signals(self) -> None:
        """Drain on SIGTERM and Ctrl-C: the epoch in hand goes through, its offsets are saved."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())

    def stopping(self) -> bool:
        """Whether the flow has been told to stop."""
        return self._stop.is_set()

    def _die(self, error: BaseException) -> None:
        """End at once: what this process still holds in memory may be another's by now."""
        log.error(
            "flow.ended",
            problem=str(error),
            kind=type(error).__name__,
            hint="nothing is lost: the next start reads what is committed and goes on from there",
        )
        os._exit(_EXIT_FENCED)

    # -- stores --

    def _new_store(self, name: str) -> FlowStore:
        url = url_of(self._settings, "flow")
        return FlowStore(lambda: connect(url, "flow", f"settler-flow-{name}"), self._stop.wait)

    def store(self) -> FlowStore:
        """The calling thread's own store."""
        store: FlowStore | None = getattr(self._local, "store", None)
        if store is None:
            store = self._local.store = self._new_store("worker")
        return store

    def writer(self) -> Writer:
        """The process's one writer."""
        with self._lock:
            if self._writer is None:
                # Its waits are not cut short by a stop: draining means waiting for Postgres.
                url = url_of(self._settings, "flow")
                self._writer = Writer(
                    PostgresStore(lambda: connect(url, "flow", "settler-flow-writer")),
                    PostgresStore(lambda: connect(url, "flow", "settler-flow-snapshots")),
                    self._settings.flush_rows,
                    synchronous=self.clustered,
                    flush_seconds=self._settings.flush_milliseconds * 0.001,
                    failed=self._die,
                )
            return self._writer

    # -- lease --

    def hold_lease(self, index: int) -> bool:
        """Stand by until the lease is ours, then keep it; False when told to stop before.

        Args:
            index: Process 0 of a cluster holds the lease for all. The others wait for that before
                they look for their peers: connecting to them cannot be interrupted.
        """
        try:
            if index == 0:
                self._lease.hold()
            elif self._settings.lease_holder is not None:
                self._lease.await_holder()
        except WaitInterrupted as exc:
            log.info("flow.stopped", problem=str(exc))
            return False
        return True

    def join_cluster(self, addresses: Sequence[str], index: int) -> bool:
        """Wait for the other processes of a cluster in which each runs by itself.

        From then on this process ends when one of them is gone or started again.

        Returns:
            False when told to stop before.
        """
        try:
            Membership(self._settings, addresses, index, self._stop, self._die).join()
        except WaitInterrupted as exc:
            log.info("flow.stopped", problem=str(exc))
            return False
        return True

    def release_lease(self) -> None:
        """Let a standby take over at once."""
        self._lease.release()

    def give_up_lease(self) -> None:
        """See `Lease.give_up`."""
        self._lease.give_up()

    # -- topics --

    def _topic(self, side: int) -> str:
        return self._settings.topic(f"transactions.{SIDES[side]}")

    def _identity(self, topic: str) -> TopicIdentity:
        with self._lock:
            if not self._topics:
                self._read_topics()
            return self._topics[topic]

    def _read_topics(self) -> None:
        """Find both topics and where to read on; a loss is told of both at once."""
        self.clock.tell(self.store().time_us())
        config = self._settings.kafka_config()
        topics = {
            topic: describe_topic(config, topic, self._stop.wait)
            for topic in map(self._topic, range(len(SIDES)))
        }
        self._offsets = {
            (topic, partition): offset
            for topic, found in topics.items()
            for partition, offset in self.store()
            .load_offsets(topic, found.cluster_id, found.topic_id)
            .items()
        }
        self._firsts = ask_first_offsets(
            config, [(topic, one) for topic, found in topics.items() for one in found.partitions]
        )
        check_nothing_is_gone(self._offsets, self._firsts)
        self._topics = topics

    def parts(self) -> dict[str, Callable[[], Part]]:
        """What makes each part of the flow's input, by name; waits until both topics are there."""
        of_topics = {
            f"{name}/{partition}": partial(self._topic_part, side, partition)
            for side, name in enumerate(SIDES)
            for partition in self._identity(self._topic(side)).partitions
        }
        return of_topics | {"control": self.control_part}

    def _topic_part(self, side: int, partition: int) -> TopicPart:
        """A reader of one partition, from where everything before is committed."""
        topic = self._topic(side)
        self._identity(topic)
        part = TopicPart(
            self._settings.kafka_config(),
            topic,
            partition,
            side,
            self._offsets.get((topic, partition)),
            self._passed,
            self.stopping,
            self._firsts.get((topic, partition)),
            self.caught_up,
        )
        self._parts.append(part)  # from several workers' threads, which a list bears
        return part

    def _passed(self, topic: str, partition: int, next_offset: int) -> None:
        identity = self._topics[topic]
        self.writer().save_offset(
            SourceCheckpoint(topic, partition, next_offset, identity.cluster_id, identity.topic_id)
        )

    # -- progress --

    def watch_progress(self, *, showing: bool = True) -> None:
        """Follow from a thread of its own how far the flow is behind its topics.

        Args:
            showing: Also write the committed offsets to the consumer group.
        """
        store = self._new_store("progress")
        config = self._settings.kafka_config()
        ends = EndOffsets(config)
        self._progress = Progress(
            lambda: ends.read(self._places()),
            lambda: self._committed(store),
            self._settings.hold_seconds,
        )
        if showing:
            self._group = GroupOffsets(config, self._settings.consumer_group())
            self._progress.told = self._group.tell
        ProgressThreads(self._progress, self._stop).start()
        WatchForStepsBack(self._die).start(self._stop)

    def _places(self) -> list[tuple[str, int]]:
        return [
            (topic, partition)
            for topic in map(self._topic, range(len(SIDES)))
            for partition in self._identity(topic).partitions
        ]

    def _committed(self, store: FlowStore) -> dict[tuple[str, int], int]:
        self.clock.tell(store.time_us())
        return {
            (topic, partition): offset
            for topic in map(self._topic, range(len(SIDES)))
            for partition, offset in store.load_offsets(
                topic, self._identity(topic).cluster_id, self._identity(topic).topic_id
            ).items()
        }

    def drain(self) -> None:
        """Save and show the offsets the flow ends with, once everything is committed.

        For when the dataflow has ended in order, on all processes.
        """
        for part in self._parts:
            part.tell_end()
        self.writer().drain()
        if self._group is None or not self._topics:
            return
        try:
            committed = self._committed(self.store())
        except WaitInterrupted as exc:
            log.info("kafka.group_not_told", group=self._group.group, problem=str(exc))
            return
        self._group.tell_last(committed, _GROUP_SECONDS)

    def caught_up(self) -> bool:
        """Whether the flow has caught up with its topics."""
        return self._progress is not None and self._progress.caught_up()

    def _behind_us(self) -> int:
        return 0 if self._progress is None else self._progress.behind_us()

    # -- parts of the dataflow --

    def surroundings(self) -> Surroundings:
        """What the calling worker's windows share."""
        around: Surroundings | None = getattr(self._local, "around", None)
        if around is None:
            around = self._local.around = Surroundings(
                self.store(),
                self.caught_up,
                self.clock.now_us,
                time.monotonic,
                self._behind_us,
                self._settings.hot_transactions,
                self._new_store("blocks"),
            )
        return around

    def control_part(self) -> ControlPart:
        """The reader of commands, ticks and redrives."""
        return ControlPart(self.store(), self.stopping, self.clock.now_us)
