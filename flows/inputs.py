"""Everything the flow reads, as one input of Bytewax.

Bytewax counts the epochs of an input by the clock at which that input happens to look, and lets no
input read on before all of them have ended their epochs. Of two inputs the one that looks less
often has the longer epochs. The other runs ahead by the difference at every one of them, until it
reads once an epoch and spins in between. The parts of one input look together.

The workers of a cluster have an input each. There `_Pace` sees to it that none runs ahead.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from typing_extensions import override

Part = StatefulSourcePartition[Any, Any]


class Inputs(FixedPartitionedSource[Any, Any]):
    """The parts of everything there is to read; which worker reads which is Bytewax's choice.

    Args:
        parts: Gives for each part's name what makes it; asked before anything is read.
        epoch: How long Bytewax's epochs are, where the flow has several workers; None: it has one,
            which needs no keeping in step.
        clock: The time by which Bytewax looks.
    """

    def __init__(
        self,
        parts: Callable[[], Mapping[str, Callable[[], Part]]],
        epoch: timedelta | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._parts = parts
        self._epoch = epoch
        self._clock = clock
        self._of_worker = threading.local()

    @override
    def list_parts(self) -> list[str]:
        return list(self._parts())

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> Part:
        part = self._parts()[for_part]()
        if self._epoch is None:
            return part
        pace: _Pace | None = getattr(self._of_worker, "pace", None)
        if pace is None:
            pace = self._of_worker.pace = _Pace(self._epoch, self._clock)
        return _PartInStep(part, pace)


class _Pace:
    """Keeps one worker's epochs from running ahead of the others'.

    A worker that has ended its epoch before the others may not read until they have, and Bytewax
    counts its next epoch from when it ended the last all the same. So it stays ahead by what it had
    to wait, and whatever it gains at the next epoch is added. Here such a worker is not looked at
    for as long, once, when its epoch would be over, so that it ends it when the others do.

    Ahead is what has to wait at two epochs in a row: a long step of its own, such as a commit that
    takes its time, keeps a worker from reading, too, but only once.
    """

    def __init__(self, epoch: timedelta, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self._epoch = epoch
        self._parts: list[_PartInStep] = []
        # Epochs that a part has ended, and of those how many it has read after.
        self._ended = 0
        self._begun = 0
        # When Bytewax ends this epoch, if it looks.
        self._ends_at = clock() + epoch
        # How much later than it wanted a part was read last: what a step of the flow takes.
        self._late = timedelta()
        # How long the worker could not read at the beginning of the last epoch.
        self._waited = timedelta()
        # From when until when no part is to be looked at.
        self._hold: tuple[datetime, datetime] | None = None

    def add(self, part: "_PartInStep") -> None:
        """Keep another part of the worker in step."""
        self._parts.append(part)

    def read(self, part: "_PartInStep") -> None:
        """Note that a part is read."""
        now = self.clock()
        if part.begins:
            part.begins = False
            if part.ended > self._begun:
                self._begun = part.ended
                self._begin(now)
        else:
            self._late = now - part.due

    def _begin(self, now: datetime) -> None:
        """See how far this worker is ahead of the others, who have all begun the epoch by now."""
        waited = now - min(part.due for part in self._parts) - self._late
        ahead, self._waited = min(waited, self._waited), waited
        if ahead <= timedelta():
            return
        self._waited = timedelta()
        others_end_at = min(self._ends_at + ahead, now + self._epoch)
        if self._ends_at <= now:
            # This very look ends it, so that the next one is what can be ended together.
            others_end_at = now + 2 * self._epoch
        self._hold = self._ends_at, others_end_at

    def end(self, part: "_PartInStep") -> None:
        """Note that a part ends its epoch; a worker's parts do so in one look."""
        part.begins = True
        part.ended += 1
        if part.ended > self._ended:
            self._ended = part.ended
            self._ends_at = self.clock() + self._epoch

    def next_look(self, wanted: datetime) -> datetime:
        """Say when a part is to be looked at that wants to be at some time."""
        if self._hold is None:
            return wanted
        begin, until = self._hold
        return until if wanted < until and wanted + self._late >= begin else wanted


class _PartInStep(StatefulSourcePartition[Any, Any]):
    """A part whose worker keeps in step with the others.

    Attributes:
        due: When it is to be read next.
        ended: How many epochs it has ended.
        begins: It has not been read since.
    """

    def __init__(self, part: Part, pace: _Pace) -> None:
        self._part = part
        self._pace = pace
        self.due = pace.clock()
        self.ended = 0
        self.begins = False
        pace.add(self)

    @override
    def next_batch(self) -> Iterable[Any]:
        self._pace.read(self)
        return self._part.next_batch()

    @override
    def next_awake(self) -> datetime | None:
        wanted = self._part.next_awake()
        at = wanted or self._pace.clock()
        self.due = self._pace.next_look(at)
        return wanted if self.due == at else self.due

    @override
    def snapshot(self) -> Any:
        self._pace.end(self)
        return self._part.snapshot()

    @override
    def close(self) -> None:
        self._part.close()
