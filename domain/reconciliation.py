"""A reconciliation as an aggregate: inputs in, events out, state a fold of the events.

`advance` decides and changes the state in one go, for speed; `evolve` folds recorded events and
gives the same state. Clock, ids and definitions come in as arguments.
"""

from collections.abc import Sequence

import msgspec

from domain.commands import AnyCommand, CannotBeDone, Pause, Resume, RunCommand
from domain.decision import Decision
from domain.definitions import Definition
from domain.events import (
    CommandRefused,
    Event,
    MatchSuperseded,
    ReconciliationDefined,
    ReconciliationPaused,
    ReconciliationResumed,
    RecordMatched,
    TransactionsAccepted,
    WatermarkAdvanced,
)
from domain.folding import JournalMissing, fold_accepted, fold_event, fold_matches
from domain.freezing.frozen import Frozen
from domain.identity import stream_id
from domain.matched_pairs import Told, count_of
from domain.matching.acceptance import Acceptance
from domain.matching.book import Book
from domain.matching.cases import END_OF_TIME_US
from domain.matching.closed import DAY_US
from domain.matching.due import SECOND_US
from domain.matching.forgetting import forget_before
from domain.matching.legs import DUPLICATE, OPEN
from domain.matching.people import decide
from domain.matching.selection import ids_of
from domain.matching.settling import Settling
from domain.passing import time_by_clock, time_by_input
from domain.period_events import PeriodClosed
from domain.periods import day_text, day_to_close, next_close_us
from domain.runs import Runs
from domain.transactions import Rejection, Transaction

# Event time is written down once a minute of it has passed, and whenever it decided something.
_WATERMARK_STEP_US = 60_000_000
# A command is given again only while its decision is on its way to the store, or if it never got
# there; of this many decided since, none is.
_COMMANDS_REMEMBERED = 10_000


class Chunk(msgspec.Struct):
    """Transactions of one reconciliation that were read together.

    Attributes:
        transactions: In the order read.
        raws: The messages they came from, in the same order; empty outside Kafka.
        offsets: "topic/partition" → (first offset read, next offset to read).
        rejected: Records of this chunk that could not be decoded.
        now_us: The clock, microseconds since the epoch; None where there is none (files).
        caught_up: Nothing has been waiting unread for more than a few seconds.
    """

    transactions: Sequence[Transaction]
    raws: list[bytes] = []
    offsets: dict[str, tuple[int, int]] = {}
    rejected: int = 0
    now_us: int | None = None
    caught_up: bool = False


class Tick(msgspec.Struct):
    """The clock, for a reconciliation that may have something due without input."""

    now_us: int
    caught_up: bool


class Reconciliation:
    """State of one reconciliation.

    Attributes:
        version: Events in the stream so far.
        newest: Newest event time seen per side, microseconds.
        recorded_watermark_us: The event time that the last recorded event told.
        watermark_us: Event time; None before both sides were seen or input fell idle.
        last_input_us: The clock at the last input; not part of what is recorded.
        paused: Records are accepted and nothing is decided.
        commands: Ids of those decided lately.
        closed_day: The last business day that is closed, in days since 1970-01-01.
        runs: Ranges that somebody wants to see reconciled as a whole.
        frozen: What is not in memory; whoever freezes thaws what an input may touch before it.
    """

    def __init__(self, definition: Definition, definition_version: int = 1) -> None:
        self.tenant_id = definition.tenant_id
        self.reconciliation_id = definition.reconciliation_id
        self.stream_id = stream_id(definition.tenant_id, definition.reconciliation_id)
        self.definition_version = definition_version
        self.version = 0
        self.newest: list[int | None] = [None, None]
        self.watermark_us: int | None = None
        self.last_input_us: int | None = None
        self.paused = False
        self.commands: dict[str, None] = {}
        self.book = Book(definition)
        self.runs = Runs()
        self.frozen = Frozen()
        self.recorded_watermark_us: int | None = None
        self.closed_day: int | None = None

    @property
    def definition(self) -> Definition:
        """The definition in force."""
        return self.book.definition

    @property
    def known_count(self) -> int:
        """How many transactions are open or remembered."""
        return sum(map(len, self.book.known))

    # -- deciding --

    def advance(self, chunk: Chunk) -> Decision:
        """Accept a chunk's transactions and decide what they and the time they bring make final."""
        events: list[Told] = []
        journal: list[bytes] = []
        rejections: list[Rejection] = []
        place, offsets, redelivered, rejected = 0, chunk.offsets, 0, chunk.rejected
        while True:
            settling = self._settling(settles=False)
            acceptance = Acceptance(
                self.book, settling, self._forgotten_before(), decides=not self.paused
            )
            place = acceptance.accept(chunk.transactions, chunk.raws, place)
            self._look_again(settling)
            self._note_newest(acceptance.newest)
            redelivered += acceptance.redelivered
            rejected += len(acceptance.rejections)
            events += settling.events[: acceptance.undone]
            if acceptance.journal or offsets:
                events.append(
                    TransactionsAccepted(
                        acceptance.counts(),
                        offsets,
                        redelivered,
                        rejected,
                        acceptance.days(),
                    )
                )
                offsets, redelivered, rejected = {}, 0, 0
            events += settling.events[acceptance.undone :]
            journal += acceptance.journal
            rejections += acceptance.rejections
            if place == len(chunk.transactions):
                break
        self.last_input_us = chunk.now_us
        if chunk.caught_up:
            events += self._let_time_pass(self._time_by_input())
        self.version += count_of(events)
        return Decision(events, journal, rejections)

    def tick(self, tick: Tick) -> Decision:
        """Decide what is due by now; a second tick of the same time decides nothing."""
        if self.last_input_us is None:
            self.last_input_us = tick.now_us
        if not tick.caught_up:
            return Decision([])
        by_input, window = self._time_by_input(), self.definition.window
        instant = time_by_clock(by_input, tick.now_us, self.last_input_us, window)
        events = self._let_time_pass(instant)
        self.version += count_of(events)
        return Decision(events)

    def define(self, definition: Definition, command_id: str) -> Decision:
        """Put a new version of the definition in force; a known command changes nothing."""
        if command_id in self.commands:
            return Decision([])
        first = self.version == 0
        version = 1 if first else self.definition_version + 1
        events: list[Event] = [ReconciliationDefined(version, definition.raw, command_id)]
        events += self.runs.fail("definition_changed", "A new definition came in force; retry it.")
        for suggestion_id, suggestion in sorted(self.book.suggestions.items()):
            events.append(
                MatchSuperseded(
                    suggestion_id,
                    suggestion.rule,
                    ids_of(suggestion.sources),
                    ids_of(suggestion.targets),
                    "the definition changed",
                )
            )
        before = self.version
        self.evolve_all(events, [])
        settling = self._settling(settles=False)
        self._look_at_all(settling)
        told = [*events, *settling.events]
        self.version = before + count_of(told)
        return Decision(told)

    def decide(self, command: AnyCommand, command_id: str) -> Decision:
        """Decide what a person asks; a known command changes nothing.

        Raises:
            CannotBeDone: As things stand; nothing was changed.
        """
        if command_id in self.commands:
            return Decision([])
        settling = self._settling(settles=False)
        if isinstance(command, Pause | Resume):
            self._pause_or_resume(settling, command, command_id)
        elif isinstance(command, RunCommand):
            self._decide_run(settling, command, command_id)
        else:
            decide(settling, command, command_id)
        self.remember_command(command_id)
        self._look_again(settling)
        self.version += count_of(settling.events)
        return Decision(settling.events)

    def refuse(self, command_id: str, command_type: str, refusal: CannotBeDone) -> Decision:
        """Put on record that a command cannot be done; a known one changes nothing."""
        if command_id in self.commands:
            return Decision([])
        self.remember_command(command_id)
        self.version += 1
        return Decision([CommandRefused(command_id, command_type, refusal.code, str(refusal))])

    def _pause_or_resume(
        self, settling: Settling, command: Pause | Resume, command_id: str
    ) -> None:
        pausing = isinstance(command, Pause)
        if pausing == self.paused:
            raise CannotBeDone(
                "already_paused" if pausing else "not_paused",
                f"Reconciliation {self.reconciliation_id} is {'' if pausing else 'not '}paused.",
            )
        self.paused = pausing
        event = ReconciliationPaused if pausing else ReconciliationResumed
        settling.events.append(event(command.reason, command_id))
        if not pausing:
            self._look_at_all(settling)

    def _decide_run(self, settling: Settling, command: RunCommand, command_id: str) -> None:
        event = self.runs.decide(
            command, command_id, self.book, self.definition_version, self._forgotten_before()
        )
        self.runs.evolve(event)
        settling.events.append(event)
        settling.events += self._complete_runs()

    def _complete_runs(self) -> list[Event]:
        """Complete the runs of whose range everything is decided."""
        if self.paused or self.watermark_us is None or not self.runs.by_id:
            return []
        return self.runs.complete(self.book, self.watermark_us, self.definition_version)

    def remember_command(self, command_id: str) -> None:
        """Know a command as decided, be it by a refusal."""
        self.commands[command_id] = None
        if len(self.commands) > _COMMANDS_REMEMBERED:
            del self.commands[next(iter(self.commands))]

    def finish(self) -> Decision:
        """Let time run out: every settle and wait ends, in order."""
        events = self._let_time_pass(END_OF_TIME_US)
        self.version += count_of(events)
        return Decision(events)

    def wake_us(self, now_us: int) -> int | None:
        """The clock at which a tick may decide something without new input; None if never."""
        dues = [
            self.book.due.first_us(),
            self.frozen.first_due_us(),
            self.runs.next_look_us(),
            next_close_us(self.definition, self.book.calendar, self.closed_day, self.newest),
        ]
        due_us = min((one for one in dues if one is not None), default=None)
        if due_us is None or self.paused:
            return None
        by_input = self._time_by_input()
        if by_input is not None and due_us <= by_input:
            return now_us
        window = self.definition.window
        idle_at = (self.last_input_us or now_us) + window.idle_us
        return max(idle_at, due_us + window.lateness_us + SECOND_US)

    def _look_again(self, settling: Settling) -> None:
        """Look at what a step has changed, or plan it for when deciding goes on."""
        if self.paused:
            self.book.plan_again()
        else:
            settling.look_again()

    def _look_at_all(self, settling: Settling) -> None:
        """Look at every open leg, for rules that do not wait now and for the others in time."""
        assert not self.frozen.has_legs, "every open leg is thawed before all are looked at"
        immediate = any(rule.immediate for rule in self.book.rules)
        for leg in self.book.open_legs():
            # A look at one leg may match others or set them aside as duplicates.
            if leg.rule == OPEN and leg.disposition != DUPLICATE:
                self.book.due.plan(leg, leg.occurred_at + self.book.looks[0])
                if immediate and not self.paused:
                    settling.arrived(leg)
        self._look_again(settling)

    def _settling(self, settles: bool) -> Settling:
        return Settling(self.book, self.definition_version, self.watermark_us, settles)

    def _forgotten_before(self) -> int | None:
        if self.watermark_us is None:
            return None
        by_window = self.watermark_us - self.definition.window.remember_us
        # What was forgotten is not known again by a window that remembers longer.
        return max(by_window, self.book.kept_from * DAY_US)

    def _note_newest(self, newest: list[int | None]) -> None:
        for side, instant in enumerate(newest):
            known = self.newest[side]
            if instant is not None and (known is None or instant > known):
                self.newest[side] = instant

    def _time_by_input(self) -> int | None:
        return time_by_input(self.newest, self.definition.window)

    def _let_time_pass(self, instant_us: int | None) -> list[Told]:
        """Move event time to `instant_us`, if that is ahead, and decide what is due."""
        if self.paused:
            return []
        before = self.watermark_us
        if instant_us is not None and (before is None or instant_us > before):
            self.watermark_us = instant_us
        if self.watermark_us is None:
            return []
        settling = self._settling(settles=True)
        settling.run()
        held_us = self.runs.held_us
        settling.events += self._complete_runs()
        recorded = self.recorded_watermark_us
        moved = None if recorded is None else self.watermark_us - recorded
        if moved is None or moved >= _WATERMARK_STEP_US or (moved and settling.events):
            self.recorded_watermark_us = self.watermark_us
            settling.events.insert(0, WatermarkAdvanced(self.watermark_us))
            # With event time as it is recorded, so that folding the events forgets the same.
            self.forget(held_us)
        last = day_to_close(self.definition, self.book.calendar, self.closed_day, self.watermark_us)
        if last is not None:
            self.closed_day = last
            settling.events.append(PeriodClosed(day_text(last)))
        return settling.events

    def forget(self, held_us: int | None) -> None:
        """Forget what is too old, and lies before `held_us`; nothing once time has run out."""
        if self.watermark_us != END_OF_TIME_US:
            limits = [one for one in (self._forgotten_before(), held_us) if one is not None]
            forget_before(self.book, min(limits))

    # -- folding --

    def evolve_all(self, events: list[Event], journal: list[bytes]) -> None:
        """Fold one recorded batch, whose journal holds the transactions it accepted.

        Raises:
            JournalMissing: It holds fewer.
        """
        at = place = 0
        self.book.recalls = True
        forgets, held_us = False, None
        while at < len(events):
            event = events[at]
            folded = 1
            if isinstance(event, TransactionsAccepted):
                count = event.count
                if place + count > len(journal):
                    raise JournalMissing(self.stream_id, self.version + 1)
                fold_accepted(self, journal[place : place + count], events, at)
                place += count
            elif isinstance(event, RecordMatched):
                folded = fold_matches(self, events, at)
            else:
                if isinstance(event, WatermarkAdvanced):
                    # Once what was due by then is decided, and before runs end by it.
                    forgets, held_us = True, self.runs.held_us
                fold_event(self, event)
            at += folded
            self.version += folded
        if forgets:
            self.forget(held_us)
        self.book.recalls = False
