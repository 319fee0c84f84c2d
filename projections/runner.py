"""The process that keeps the read models current: `settler run projections`.

At least one database transaction behind the log, usually exactly one. Woken by NOTIFY on
`settler_events`, and four times a second in case a notice is lost.
"""

import signal
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram
from psycopg import Connection

from connectors.postgres.connections import (
    DELAY_FIRST_SECONDS,
    DELAY_MAX_SECONDS,
    TRANSIENT,
    WaitInterrupted,
    connect_when_ready,
    url_of,
)
from connectors.postgres.reading import read_head
from connectors.settings import Settings
from connectors.telemetry import configure_logging, start_metrics_server
from domain.errors import SettlerError
from projections import checkpoints
from projections.catalog import READ_MODELS
from projections.feed import Applied, Feed
from projections.log import NO_END
from projections.queries import load_queries
from projections.read_model import ReadModel

log = structlog.get_logger(__name__)

_SQL = load_queries("runner")
POLL_SECONDS = 0.25
STANDBY_SECONDS = 1.0
HEAD_SECONDS = 0.5
# Adding all days up reads the table of control totals once.
DIFFERENCES_SECONDS = 60.0

POSITION = Gauge(
    "settler_projection_position", "Position of the last event folded in", ["projection"]
)
LAG_EVENTS = Gauge(
    "settler_projection_lag_events", "Events of the log not folded in yet", ["projection"]
)
LAG_SECONDS = Gauge(
    "settler_projection_lag_seconds",
    "Age of the last event folded in, 0 when nothing is behind it",
    ["projection"],
)
BATCH_EVENTS = Histogram(
    "settler_projection_batch_events",
    "Events written in one database transaction",
    buckets=(1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000),
)
BATCH_BYTES = Histogram(
    "settler_projection_batch_bytes",
    "Bytes of event text written in one database transaction",
    buckets=(1e3, 1e4, 1e5, 1e6, 4e6, 16e6, 64e6),
)
BATCH_SECONDS = Histogram(
    "settler_projection_batch_seconds",
    "Seconds one database transaction of the projector took",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
DELAY_SECONDS = Histogram(
    "settler_projection_delay_seconds",
    "Seconds from an event's storing to its row being readable",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
DIFFERENCES = Gauge(
    "settler_control_totals_differences",
    "Sides and currencies whose business days do not add up to where everything stands",
)
ORPHANS = Counter(
    "settler_projection_orphans_total", "Events of exceptions that never opened; the log has none"
)


class NeedsRebuild(SettlerError):
    """A read model stands behind one it needs, and cannot catch up by itself."""

    code = "projection.needs_rebuild"

    def __init__(self, name: str, position: int, needed: str, needed_position: int) -> None:
        super().__init__(
            f"projection {name} stands at {position} and needs {needed}, which stands at "
            f"{needed_position}; run `settler projections rebuild {name}`"
        )


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; then finish the piece under way.

    Returns:
        0 after a signal, 1 when it cannot go on; the log says why.
    """
    configure_logging(settings, "projections")
    start_metrics_server(settings.metrics_port_for("projections"), settings.metrics_host)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return run(settings, stop)


def run(settings: Settings, stop: threading.Event) -> int:
    """Keep the read models current until `stop` is set; see `main`."""
    failures = 0
    while not stop.is_set():
        started = monotonic()
        try:
            _run_connected(settings, stop)
        except WaitInterrupted:
            break
        except TRANSIENT as exc:
            failures = 1 if monotonic() - started > 2 * DELAY_MAX_SECONDS else failures + 1
            delay = min(DELAY_FIRST_SECONDS * 2 ** (failures - 1), DELAY_MAX_SECONDS)
            log.warning(
                "projections.interrupted",
                error=" ".join(str(exc).split()),
                retry_in_seconds=delay,
            )
            stop.wait(delay)
        except SettlerError as exc:
            log.error("projections.stopped", code=exc.code, error=str(exc))
            return 1
    log.info("projections.ended")
    return 0


def _run_connected(settings: Settings, stop: threading.Event) -> None:
    url = url_of(settings, "projections")
    with (
        connect_when_ready(url, "projections", "settler-projections-read", stop.wait) as reader,
        connect_when_ready(url, "projections", "settler-projections", stop.wait) as writer,
    ):
        _become_the_one(writer, stop)
        writer.execute(_SQL["commit_without_waiting"])
        reader.execute(_SQL["listen"])
        follow(reader, writer, READ_MODELS, stop)


def _become_the_one(writer: Connection[Any], stop: threading.Event) -> None:
    """Wait until no other process runs the projections."""
    waiting = False
    while not stop.is_set():
        row = writer.execute(_SQL["try_lock"]).fetchone()
        if row is not None and row[0]:
            log.info("projections.started", was_standby=waiting)
            return
        if not waiting:
            log.info("projections.standby", reason="another process runs the projections")
            waiting = True
        stop.wait(STANDBY_SECONDS)


def follow(
    reader: Connection[Any],
    writer: Connection[Any],
    models: Sequence[ReadModel],
    stop: threading.Event,
) -> None:
    """Feed read models as the log grows, until `stop` is set.

    Args:
        reader: Listens on `settler_events`; in autocommit, as the writer.
        writer: Holds the lock of the one runner.
        models: In writing order. Those at the same position share each piece of the log; one
            that is behind is brought up first.
        stop: Looked at between two pieces.
    """
    positions = checkpoints.read(writer, [model.name for model in models])
    gauges = _Gauges(positions)
    with Feed(reader, writer, on_applied=gauges.on_applied) as feed:
        while not stop.is_set():
            group, after, until = next_group(models, positions)
            gauges.group = [model.name for model in group]

            def stopped() -> bool:
                gauges.look_at_head(reader)
                return stop.is_set()

            reached = feed.catch_up(group, after, until, stopped)
            positions.update((model.name, reached) for model in group)
            if reached == after:
                gauges.look_for_differences(reader)
                _wait_for_events(reader)


def next_group(
    models: Sequence[ReadModel], positions: Mapping[str, int]
) -> tuple[list[ReadModel], int, int]:
    """Choose the read models furthest behind, and how far to bring them.

    Returns:
        The models, where they stand, and where the next ones stand (`NO_END`: nobody is ahead).

    Raises:
        NeedsRebuild: One of them needs a model that is ahead already.
    """
    after = min(positions[model.name] for model in models)
    group = [model for model in models if positions[model.name] == after]
    for model in group:
        for needed in model.needs:
            if positions[needed] != after:
                raise NeedsRebuild(model.name, after, needed, positions[needed])
    ahead = [position for position in positions.values() if position > after]
    return group, after, min(ahead, default=NO_END)


def count_differences(conn: Connection[Any]) -> int:
    """Count sides and currencies whose days do not add up to their totals; there are none."""
    row = conn.execute(_SQL["count_differences"]).fetchone()
    assert row is not None, "a count gives a row"
    return int(row[0])


def _wait_for_events(reader: Connection[Any]) -> None:
    for _ in reader.notifies(timeout=POLL_SECONDS, stop_after=1):
        pass
    for _ in reader.notifies(timeout=0):
        # Every notice so far says the same: there is something to read.
        pass


class _Gauges:
    """What the metrics show between two looks at the head of the log."""

    def __init__(self, positions: Mapping[str, int]) -> None:
        self.group = list(positions)
        self._positions = dict(positions)
        self._stored_at: datetime | None = None
        self._looked_at = 0.0
        self._compared_at = -DIFFERENCES_SECONDS
        for name, position in positions.items():
            POSITION.labels(name).set(position)

    def on_applied(self, applied: Applied) -> None:
        prepared = applied.prepared
        self._stored_at = prepared.stored_at
        BATCH_EVENTS.observe(prepared.event_count)
        BATCH_BYTES.observe(prepared.text_bytes)
        BATCH_SECONDS.observe(applied.seconds)
        DELAY_SECONDS.observe(max(0.0, _age_seconds(prepared.stored_at)))
        for name in self.group:
            self._positions[name] = prepared.until
            POSITION.labels(name).set(prepared.until)
        if applied.orphans:
            ORPHANS.inc(applied.orphans)
            log.warning(
                "projections.orphans",
                events=applied.orphans,
                after=prepared.after,
                until=prepared.until,
                meaning="events speak of exceptions that never opened; they were passed over",
            )

    def look_for_differences(self, reader: Connection[Any]) -> None:
        if monotonic() - self._compared_at < DIFFERENCES_SECONDS:
            return
        self._compared_at = monotonic()
        found = count_differences(reader)
        DIFFERENCES.set(found)
        if found:
            log.error(
                "projections.control_totals_differ",
                differences=found,
                hint="run settler verify, then settler projections rebuild control_totals",
            )

    def look_at_head(self, reader: Connection[Any]) -> None:
        if monotonic() - self._looked_at < HEAD_SECONDS:
            return
        self._looked_at = monotonic()
        head = read_head(reader)
        for name, position in self._positions.items():
            behind = max(0, head - position)
            LAG_EVENTS.labels(name).set(behind)
            seconds = _age_seconds(self._stored_at) if behind and self._stored_at else 0.0
            LAG_SECONDS.labels(name).set(max(0.0, seconds))


def _age_seconds(stored_at: datetime) -> float:
    return (datetime.now(UTC) - stored_at).total_seconds()
