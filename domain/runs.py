"""Runs: a range of event time that somebody wants to see reconciled as a whole.

A run changes nothing about matching. It ends by itself, with its totals, once event time has passed
its range and no transaction in it is pending; a new definition meanwhile fails it, for its totals
would be of two. What lies in its range is remembered until it ends, however long that takes.
"""

from collections.abc import Iterator

import msgspec

from domain.commands import CancelRun, CannotBeDone, RetryRun, RunCommand, StartRun
from domain.events import Event
from domain.instants import DAY_US, SECOND_US, InstantInvalid, parse_occurred_at
from domain.matching.book import Book
from domain.matching.legs import DISPOSITIONS, PENDING, Known, Leg, Settled, Superseded
from domain.run_events import (
    ReconciliationCancelled,
    ReconciliationCompleted,
    ReconciliationFailed,
    ReconciliationRetried,
    ReconciliationStarted,
)
from domain.transactions import Transaction

#: Running at once, at most: each keeps its range in memory.
RUNNING_MAX = 20
#: A quarter.
RANGE_MAX_US = 92 * DAY_US
# Those that ended last can be retried.
_ENDED_KEPT = 100

RUNNING = "running"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"

# (side, currency, place) → count and sum in minor units
_Tallies = dict[tuple[int, str, str], list[int]]


class Run(msgspec.Struct, array_like=True):
    """A run; its range has its begin and not its end, in microseconds of event time.

    Attributes:
        look_us: The event time at which it may be complete.
    """

    from_us: int
    to_us: int
    status: str
    look_us: int


class Runs:
    """The runs of one reconciliation.

    Attributes:
        by_id: Running ones and those that ended lately, in the order they were started.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Run] = {}

    @property
    def running(self) -> dict[str, Run]:
        """Those that have not ended."""
        return {one: run for one, run in self.by_id.items() if run.status == RUNNING}

    @property
    def held_us(self) -> int | None:
        """The event time from which on everything is remembered for the running ones."""
        return min((run.from_us for run in self.running.values()), default=None)

    def held_days(self) -> list[tuple[int, int]]:
        """First and last days of event time that the running ones may count."""
        return [days_between(run.from_us, run.to_us) for run in self.running.values()]

    def days_of(self, run_id: str) -> list[tuple[int, int]]:
        """The days a run may count; none of one that is not known."""
        run = self.by_id.get(run_id)
        return [] if run is None else [days_between(run.from_us, run.to_us)]

    def days_asked(self, command: RunCommand, book: Book) -> list[tuple[int, int]]:
        """The days that the run may count which a command begins, if it begins one."""
        if isinstance(command, RetryRun):
            return self.days_of(command.run_id)
        if isinstance(command, StartRun):
            try:
                begin, end = _bound(command.from_, "from", book), _bound(command.to, "to", book)
            except CannotBeDone:
                return []
            return [days_between(begin, end)]
        return []

    def next_look_us(self) -> int | None:
        """The event time at which a run may be complete; None: none is running."""
        return min((run.look_us for run in self.running.values()), default=None)

    def evolve(self, event: Event) -> None:
        """Apply what a recorded event says of a run."""
        match event:
            case ReconciliationStarted():
                self.by_id[event.run_id] = Run(event.from_us, event.to_us, RUNNING, event.to_us)
                self._forget_ended()
            case ReconciliationRetried():
                run = self.by_id[event.run_id]
                run.status, run.look_us = RUNNING, run.to_us
            case ReconciliationCompleted():
                self._end(event.run_id, COMPLETED)
            case ReconciliationFailed():
                self._end(event.run_id, FAILED)
            case ReconciliationCancelled():
                self._end(event.run_id, CANCELLED)

    def _end(self, run_id: str, status: str) -> None:
        run = self.by_id[run_id]
        run.status = status

    def _forget_ended(self) -> None:
        ended = [one for one, run in self.by_id.items() if run.status != RUNNING]
        for one in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self.by_id[one]

    def decide(
        self,
        command: StartRun | RetryRun | CancelRun,
        command_id: str,
        book: Book,
        definition_version: int,
        forgotten_before_us: int | None,
    ) -> Event:
        """Decide a command; the event is still to be applied.

        Raises:
            CannotBeDone: Nothing is to be done.
        """
        if isinstance(command, StartRun):
            begin, end = _bound(command.from_, "from", book), _bound(command.to, "to", book)
            self._check_range(begin, end, forgotten_before_us)
            return ReconciliationStarted(
                command_id, command.name, begin, end, definition_version, command_id
            )
        run = self.by_id.get(command.run_id)
        if run is None:
            raise CannotBeDone(
                "unknown_run", f"There is no run {command.run_id}, or it ended long ago."
            )
        if isinstance(command, CancelRun):
            if run.status != RUNNING:
                raise CannotBeDone("run_ended", f"Run {command.run_id} is {run.status} already.")
            return ReconciliationCancelled(command.run_id, command.reason, command_id)
        if run.status not in (FAILED, CANCELLED):
            raise CannotBeDone(
                "run_not_failed",
                f"Run {command.run_id} is {run.status}; one that failed or was cancelled can be "
                "retried.",
            )
        self._check_range(run.from_us, run.to_us, forgotten_before_us)
        return ReconciliationRetried(command.run_id, definition_version, command.reason, command_id)

    def _check_range(self, begin: int, end: int, forgotten_before_us: int | None) -> None:
        if begin >= end:
            raise CannotBeDone("range_empty", "The range ends before it begins; `to` is not in it.")
        if end - begin > RANGE_MAX_US:
            raise CannotBeDone(
                "range_too_wide",
                f"The range is wider than {RANGE_MAX_US // DAY_US} days; start several runs.",
            )
        if forgotten_before_us is not None and begin < forgotten_before_us:
            raise CannotBeDone(
                "range_forgotten",
                "What was decided at the begin of the range is remembered no longer, so its totals "
                "could not be told; begin later, or lengthen window.remember.",
            )
        if len(self.running) >= RUNNING_MAX:
            raise CannotBeDone(
                "too_many_runs", f"{RUNNING_MAX} runs are running; cancel one, or wait."
            )

    def complete(self, book: Book, watermark_us: int, definition_version: int) -> list[Event]:
        """Complete what is; the others are looked at again when something about them is due."""
        events: list[Event] = []
        due = {one: run for one, run in self.running.items() if run.look_us <= watermark_us}
        for run_id, run in due.items():
            pending = [
                book.due_second(leg)
                for side in book.known
                for leg in side.values()
                if type(leg) is Leg
                and leg.disposition == PENDING
                and run.from_us <= leg.occurred_at < run.to_us
            ]
            if pending:
                run.look_us = max(watermark_us + SECOND_US, max(pending) * SECOND_US)
                continue
            totals = [
                (*key, count, total) for key, (count, total) in sorted(_count(book, run).items())
            ]
            events.append(ReconciliationCompleted(run_id, definition_version, totals))
        for event in events:
            self.evolve(event)
        return events

    def fail(self, code: str, message: str) -> list[Event]:
        """Fail all that are running; the events are still to be applied."""
        return [ReconciliationFailed(run_id, code, message) for run_id in self.running]


def days_between(from_us: int, to_us: int) -> tuple[int, int]:
    """First and last day of event time, from the epoch, that a range may count.

    What was closed under another time zone stands a day beside where it would now.
    """
    return from_us // DAY_US - 2, to_us // DAY_US + 2


def _bound(text: str, name: str, book: Book) -> int:
    """Read a bound of a range; a bare date is the begin of that day in the definition's zone."""
    try:
        instant_us, is_date = parse_occurred_at(text)
        return book.calendar.end_of_day(instant_us - DAY_US) + 1 if is_date else instant_us
    except (InstantInvalid, ValueError, OverflowError) as problem:
        raise CannotBeDone("invalid_command", f"{name}: {text!r} {problem}.") from None


def _count(book: Book, run: Run) -> _Tallies:
    """Count the transactions in a run's range by where they stand."""
    tallies: _Tallies = {}
    for place, one in _transactions(book, run):
        if run.from_us <= book.event_time(one) < run.to_us:
            tally = tallies.setdefault((one.side, one.currency, place), [0, 0])
            tally[0] += 1
            tally[1] += one.amount_minor
    return tallies


def _transactions(book: Book, run: Run) -> Iterator[tuple[str, Transaction]]:
    """Give each transaction that may be in the range with its place, each once."""
    settled: set[int] = set()
    for side in (0, 1):
        for transaction_id in _ids_of(book, run, side):
            known = book.known[side].get(transaction_id)
            if type(known) is Settled:
                if id(known) not in settled:
                    settled.add(id(known))
                    for of_side in (0, 1):
                        for packed in known.packed(of_side):
                            yield "matched", book.unpack(packed)
            elif known is not None:
                yield from _unmatched(book, known)
        for contents in book.replaced[side].values():
            for packed in contents:
                yield "superseded", book.unpack(packed)


def _unmatched(book: Book, known: Known) -> Iterator[tuple[str, Transaction]]:
    if type(known) is Leg:
        yield DISPOSITIONS[known.disposition], book.unpack(known.packed)
    elif type(known) is Superseded:
        for packed in known.contents:
            yield "superseded", book.unpack(packed)
    elif isinstance(known, bytes):
        yield "duplicate", book.unpack(known)


def _ids_of(book: Book, run: Run, side: int) -> set[str]:
    """Ids of what may be of the range, or has come under its id.

    A match is of the day of its newest member, so it may have one of the range on any later day.
    What was superseded may have had content of any day.
    """
    ids = {one for one, known in book.known[side].items() if type(known) is Leg}
    ids.update(book.days[side])
    first, last = days_between(run.from_us, run.to_us)
    for day, closed in book.closed.days.items():
        if day >= first:
            ids.update(closed.ids[side])
        if first <= day <= last:
            ids.update(closed.pairs.ids[side])
    return ids
