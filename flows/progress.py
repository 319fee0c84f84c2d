"""How far behind the end of its topics the whole flow is: what event time may move by.

Every second or so the ends of all partitions are noted with the clock. Once everything below a
note is committed, the flow had caught up with the moment of that note. This holds for any number
of processes, since it compares what the broker has with what the store has.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog
from prometheus_client import Gauge

log = structlog.get_logger(__name__)

NOTE_EVERY_SECONDS = 0.5
_NOTES_MAX = 10_000

LAG_MESSAGES = Gauge(
    "settler_flow_lag_messages", "Messages not committed yet, by partition", ["topic", "partition"]
)
BEHIND_SECONDS = Gauge(
    "settler_flow_behind_seconds", "How long ago the flow had caught up with its topics"
)

#: (topic, partition) → offset
Offsets = Mapping[tuple[str, int], int]


class _Note(NamedTuple):
    at: float
    ends: Offsets


class Progress:
    """Whether the flow has caught up, as of a few moments ago.

    Args:
        ends: Reads the end offset of every partition from the broker.
        committed: Reads the next offset of every partition from the store; a partition that was
            never saved stands at its beginning.
        hold_seconds: Behind by more than this, event time stands still.
        clock: Seconds, monotonic.

    Attributes:
        told: Called with what is committed, as the last thing of each note.
    """

    def __init__(
        self,
        ends: Callable[[], Offsets],
        committed: Callable[[], Offsets],
        hold_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.told: Callable[[Offsets], None] = lambda _committed: None
        self._ends = ends
        self._committed = committed
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._notes: deque[_Note] = deque()
        self._newest_ends: Offsets = {}
        self._known: Offsets | None = None
        self._caught_up_at: float | None = None

    def note(self) -> None:
        """Compare the broker with the store once."""
        self.note_ends()
        self.note_committed()

    def note_ends(self) -> None:
        """Ask the broker, and count the lag from what the store said last.

        By itself, since a store that does not answer is when somebody looks at the lag.
        """
        at = self._clock()
        ends = dict(self._ends())
        with self._lock:
            self._notes.append(_Note(at, ends))
            if len(self._notes) > _NOTES_MAX:
                # Far behind: thin out the older half rather than lose its first and last.
                self._notes = deque(
                    note for place, note in enumerate(self._notes) if place % 2 or place == 0
                )
            self._newest_ends = ends
        self._show_lag()

    def note_committed(self) -> None:
        """Ask the store, and strike out the notes that it has reached."""
        committed = self._committed()
        with self._lock:
            self._known = committed
            while self._notes and _reached(committed, self._notes[0].ends):
                self._caught_up_at = self._notes.popleft().at
        self._show_lag()
        self.told(committed)

    def _show_lag(self) -> None:
        known = self._known
        if known is None:
            return
        for (topic, partition), end in self._newest_ends.items():
            lag = max(0, end - known.get((topic, partition), 0))
            LAG_MESSAGES.labels(topic, str(partition)).set(lag)

    def behind_seconds(self) -> float:
        """Seconds since the moment the flow is known to have caught up with; 0 if unknown."""
        at = self._caught_up_at
        return 0.0 if at is None else max(0.0, self._clock() - at)

    def caught_up(self) -> bool:
        """Whether everything the topics had `hold_seconds` ago is committed."""
        at = self._caught_up_at
        return at is not None and self._clock() - at <= self._hold_seconds

    def behind_us(self) -> int:
        """The same in microseconds."""
        return int(self.behind_seconds() * 1e6)


def _reached(committed: Offsets, ends: Offsets) -> bool:
    return all(end <= committed.get(place, 0) for place, end in ends.items())


class ProgressThreads:
    """Note progress now and then until stopped; what fails is said and tried again.

    Broker and store are asked from a thread each, the store whenever the broker was: one that does
    not answer holds up only its own.
    """

    def __init__(self, progress: Progress, stop: threading.Event) -> None:
        self._progress = progress
        self._stop = stop
        self._due = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_broker, name="progress-broker", daemon=True),
            threading.Thread(target=self._ask_store, name="progress-store", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        BEHIND_SECONDS.set_function(self._progress.behind_seconds)
        for thread in self._threads:
            thread.start()

    def _ask_broker(self) -> None:
        while not self._stop.wait(NOTE_EVERY_SECONDS):
            self._note(self._progress.note_ends)
            self._due.set()

    def _ask_store(self) -> None:
        while not self._stop.is_set():
            if self._due.wait(NOTE_EVERY_SECONDS):
                self._due.clear()
                self._note(self._progress.note_committed)

    @staticmethod
    def _note(note: Callable[[], None]) -> None:
        try:
            note()
        except Exception as exc:  # noqa: BLE001 - see below
            # Not knowing holds event time back, which is safe; the next note may know again.
            log.warning("progress.unknown", problem=str(exc))
