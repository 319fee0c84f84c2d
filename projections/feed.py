"""Feeding read models from the log: one piece is read and folded while the one before is written.

Folding is Python's work and writing mostly the database's, so the two overlap; that makes about
half as many matches readable again in the same time.
"""

import gc
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple, Self

from psycopg import Connection

from projections.applying import OnStep, Prepared, apply, no_step, prepare
from projections.log import EVENTS_MAX, NO_END, read_log
from projections.read_model import ReadModel

#: A piece of the log is some 30,000 lists and tuples that live until it is written and hold no
#: cycles.  At the default of 700 the collector looks through them again and again, which took as
#: long as decoding and folding together. They are gone with their piece, so at this figure it looks
#: only when something else keeps on growing.
COLLECTOR_THRESHOLD = 1_000_000

#: Whenever the database has taken some rows, the writer waits for the folding thread to let go of
#: the interpreter.  At the default of 5 ms that cost up to a fifth of the rate.
THREAD_SWITCH_SECONDS = 0.0005


class Applied(NamedTuple):
    """A piece that is committed, and the seconds its writing took."""

    prepared: Prepared
    seconds: float
    orphans: int


class Feed:
    """Feeds read models over two connections of its own use, both in autocommit.

    Args:
        reader: Reads the log.
        writer: Writes read models and checkpoints, from a thread of its own.
        suffix: Appended to the names of checkpoints.
        notify: Tell listeners of `settler_read_models` what changed.
        on_applied: Told of every committed piece, from the thread of the caller.
        on_step: Told before each step of writing, from the writer's thread.
        events_max: Events of a piece at most, see `read_log`.
    """

    def __init__(
        self,
        reader: Connection[Any],
        writer: Connection[Any],
        *,
        suffix: str = "",
        notify: bool = True,
        on_applied: Callable[[Applied], None] = lambda _applied: None,
        on_step: OnStep = no_step,
        events_max: int = EVENTS_MAX,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._suffix = suffix
        self._notify = notify
        self._on_applied = on_applied
        self._on_step = on_step
        self._events_max = events_max
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="projection-writer")

    def __enter__(self) -> Self:
        self._collector = gc.get_threshold()
        self._switch_seconds = sys.getswitchinterval()
        gc.set_threshold(COLLECTOR_THRESHOLD)
        sys.setswitchinterval(THREAD_SWITCH_SECONDS)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True)
        gc.set_threshold(*self._collector)
        sys.setswitchinterval(self._switch_seconds)

    def catch_up(
        self,
        models: Sequence[ReadModel],
        after: int,
        until: int = NO_END,
        stopped: Callable[[], bool] = lambda: False,
    ) -> int:
        """Feed what the log has after a position, and return the position reached.

        Args:
            models: Read models whose checkpoints all stand at `after`, in writing order.
            after: The end of a batch; 0 for the beginning.
            until: Position to end at, the end of a batch.
            stopped: Asked between two pieces; True ends it early.

        Raises:
            CheckpointMoved: Another process feeds them too.
            LogBroken: The log does not follow on from `after`.
        """
        writing: Future[Applied] | None = None
        position = after
        try:
            while not stopped():
                batches = read_log(self._reader, position, until, self._events_max)
                if not batches:
                    break
                prepared = prepare(models, position, batches)
                if writing is not None:
                    # Taken out first: a failure is raised once, here.
                    done, writing = writing, None
                    self._on_applied(done.result())
                writing = self._thread.submit(self._apply, models, prepared)
                position = prepared.until
        finally:
            if writing is not None:
                self._on_applied(writing.result())
        return position

    def _apply(self, models: Sequence[ReadModel], prepared: Prepared) -> Applied:
        start = perf_counter()
        orphans = apply(
            self._writer,
            models,
            prepared,
            suffix=self._suffix,
            notify=self._notify,
            on_step=self._on_step,
        )
        return Applied(prepared, perf_counter() - start, orphans)
