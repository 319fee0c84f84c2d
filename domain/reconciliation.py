"""A reconciliation as an aggregate: inputs in, events out, state a fold of the events.

`advance` decides and changes the state in one go, for speed; `evolve` folds recorded events and
gives the same state. Clock, ids and definitions come in as arguments.
"""

import msgspec

from domain.commands import MatchCommand
from domain.definition_parsing import parse_definition
from domain.definitions import Definition
from domain.events import (
    DuplicateDetected,
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    ReconciliationDefined,
    RecordMatched,
    RecordUnmatched,
    TransactionsAccepted,
    WatermarkAdvanced,
)
from domain.identity import match_id, stream_id
from domain.matching.acceptance import Acceptance
from domain.matching.book import Book, Suggestion
from domain.matching.cases import END_OF_TIME_US
from domain.matching.due import SECOND_US
from domain.matching.legs import OPEN, PERSON, Leg, Settled
from domain.matching.people import decide
from domain.matching.refusals import Refusal
from domain.matching.settling import Settling
from domain.transactions import Rejection, Transaction, unpack_transaction

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

    transactions: list[Transaction]
    raws: list[bytes] = []
    offsets: dict[str, tuple[int, int]] = {}
    rejected: int = 0
    now_us: int | None = None
    caught_up: bool = False


class Tick(msgspec.Struct):
    """The clock, for a reconciliation that may have something due without input."""

    now_us: int
    caught_up: bool


class Decision(msgspec.Struct):
    """What came of an input: nothing at all if every part is empty.

    Attributes:
        journal: The packed transactions that were accepted, in order.
        rejections: Records that could not be used after all, such as a conflicting duplicate.
    """

    events: list[Event]
    journal: list[bytes] = []
    rejections: list[Rejection] = []


class Reconciliation:
    """State of one reconciliation.

    Attributes:
        version: Events in the stream so far.
        newest: Newest event time seen per side, microseconds.
        recorded_watermark_us: The event time that the last recorded event told.
        watermark_us: Event time; None before both sides were seen or input fell idle.
        last_input_us: The clock at the last input; not part of what is recorded.
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
        self.commands: dict[str, None] = {}
        self.book = Book(definition)
        self.recorded_watermark_us: int | None = None

    @property
    def definition(self) -> Definition:
        """The definition in force."""
        return self.book.definition

    # -- deciding --

    def advance(self, chunk: Chunk) -> Decision:
        """Accept a chunk's transactions and decide what they and the time they bring make final."""
        settling = self._settling(settles=False)
        acceptance = Acceptance(self.book, settling, self._forgotten_before())
        accepted = acceptance.accept(chunk.transactions, chunk.raws)
        events: list[Event] = []
        if accepted or chunk.offsets:
            events.append(
                TransactionsAccepted(
                    acceptance.counts(),
                    chunk.offsets,
                    acceptance.redelivered,
                    chunk.rejected + len(acceptance.rejections),
                )
            )
        events += settling.events
        self._note_newest(acceptance.newest)
        self.last_input_us = chunk.now_us
        if chunk.caught_up:
            events += self._let_time_pass(self._time_by_input())
        self.version += len(events)
        return Decision(events, accepted, acceptance.rejections)

    def tick(self, tick: Tick) -> Decision:
        """Decide what is due by now; a second tick of the same time decides nothing."""
        if self.last_input_us is None:
            self.last_input_us = tick.now_us
        if not tick.caught_up:
            return Decision([])
        instant = self._time_by_input()
        window = self.definition.window
        if tick.now_us - self.last_input_us >= window.idle_us:
            by_clock = tick.now_us - window.lateness_us
            instant = by_clock if instant is None else max(instant, by_clock)
        events = self._let_time_pass(instant)
        self.version += len(events)
        return Decision(events)

    def define(self, definition: Definition, command_id: str) -> Decision:
        """Put a new version of the definition in force; a known command changes nothing."""
        if command_id in self.commands:
            return Decision([])
        first = self.version == 0
        version = 1 if first else self.definition_version + 1
        events: list[Event] = [ReconciliationDefined(version, definition.raw, command_id)]
        for suggestion_id in sorted(self.book.suggestions):
            suggestion = self.book.suggestions[suggestion_id]
            events.append(
                MatchSuperseded(
                    suggestion_id,
                    suggestion.rule,
                    [leg.transaction_id for leg in suggestion.sources],
                    [leg.transaction_id for leg in suggestion.targets],
                    "the definition changed",
                )
            )
        before = self.version
        self.evolve_all(events, [])
        settling = self._settling(settles=False)
        immediate = any(rule.immediate for rule in self.book.rules)
        for leg in self._open_legs():
            if leg.rule == OPEN:
                self.book.due.plan(leg, leg.occurred_at + self.book.looks[0])
                if immediate:
                    settling.arrived(leg)
        events += settling.events
        self.version = before + len(events)
        return Decision(events)

    def decide(self, command: MatchCommand, command_id: str) -> Decision:
        """Decide what a person asks; a known command changes nothing.

        Raises:
            CommandRefused: It cannot be done as things stand; nothing was changed.
        """
        if command_id in self.commands:
            return Decision([])
        settling = self._settling(settles=False)
        decide(settling, command, command_id)
        self.remember_command(command_id)
        settling.look_again()
        self.version += len(settling.events)
        return Decision(settling.events)

    def remember_command(self, command_id: str) -> None:
        """Know a command as decided, be it by a refusal."""
        self.commands[command_id] = None
        if len(self.commands) > _COMMANDS_REMEMBERED:
            del self.commands[next(iter(self.commands))]

    def finish(self) -> Decision:
        """Let time run out: every settle and wait ends, in order."""
        events = self._let_time_pass(END_OF_TIME_US)
        self.version += len(events)
        return Decision(events)

    def wake_us(self, now_us: int) -> int | None:
        """The clock at which a tick may decide something without new input; None if never."""
        due_us = self.book.due.first_us()
        if due_us is None:
            return None
        by_input = self._time_by_input()
        if by_input is not None and due_us <= by_input:
            return now_us
        window = self.definition.window
        idle_at = (self.last_input_us or now_us) + window.idle_us
        return max(idle_at, due_us + window.lateness_us + SECOND_US)

    def _settling(self, settles: bool) -> Settling:
        return Settling(self.book, self.definition_version, self.watermark_us, settles)

    def _forgotten_before(self) -> int | None:
        if self.watermark_us is None:
            return None
        return self.watermark_us - self.definition.window.remember_us

    def _note_newest(self, newest: list[int | None]) -> None:
        for side, instant in enumerate(newest):
            known = self.newest[side]
            if instant is not None and (known is None or instant > known):
                self.newest[side] = instant

    def _time_by_input(self) -> int | None:
        source, target = self.newest
        if source is None or target is None:
            return None
        return min(source, target) - self.definition.window.lateness_us

    def _let_time_pass(self, instant_us: int | None) -> list[Event]:
        """Move event time to `instant_us`, if that is ahead, and decide what is due."""
        before = self.watermark_us
        if instant_us is not None and (before is None or instant_us > before):
            self.watermark_us = instant_us
        if self.watermark_us is None:
            return []
        settling = self._settling(settles=True)
        settling.run()
        recorded = self.recorded_watermark_us
        moved = None if recorded is None else self.watermark_us - recorded
        if moved is None or moved >= _WATERMARK_STEP_US or (moved and settling.events):
            self.recorded_watermark_us = self.watermark_us
            settling.events.insert(0, WatermarkAdvanced(self.watermark_us))
        self.book.forget_before(self.watermark_us - self.definition.window.remember_us)
        return settling.events

    def _open_legs(self) -> list[Leg]:
        legs = [leg for side in self.book.known for leg in side.values() if isinstance(leg, Leg)]
        return sorted(legs, key=lambda leg: (leg.occurred_at, leg.side, leg.transaction_id))

    # -- folding --

    def evolve_all(self, events: list[Event], journal: list[bytes]) -> None:
        """Fold one recorded batch, whose journal holds the transactions it accepted."""
        place = 0
        for event in events:
            if isinstance(event, TransactionsAccepted):
                count = sum(entry[2] for entry in event.counts)
                self._accept(journal[place : place + count])
                place += count
            else:
                self.evolve(event)
            self.version += 1

    def evolve(self, event: Event) -> None:  # noqa: C901 - one short case a type
        """Fold one recorded event other than the journal's."""
        book = self.book
        match event:
            case RecordMatched():
                self._close(event, self._rule_index(event.rule))
            case MatchConfirmed():
                self._close(event, PERSON)
                self._withdraw(self._match_id(event))
                self.remember_command(event.command_id)
            case MatchSuggested():
                self._suggest(event)
            case MatchSuperseded():
                self._withdraw(event.match_id)
            case MatchRejected():
                self._withdraw(event.match_id)
                book.refuse(Refusal(event.rule, *_members(event)))
                self.remember_command(event.command_id)
            case MatchReversed():
                self._reopen(event)
            case RecordUnmatched():
                if event.category != "duplicate":
                    leg = book.open_leg(event.side, event.transaction_id)
                    ids = tuple(candidate.transaction_id for candidate in event.candidates)
                    book.open_exception(leg, event.category, ids)
            case ExceptionReclassified():
                if event.category != "duplicate":
                    leg = book.open_leg(event.side, event.transaction_id)
                    ids = tuple(candidate.transaction_id for candidate in event.candidates)
                    book.exceptions[leg] = (event.category, ids)
            case DuplicateDetected():
                book.set_duplicate(book.open_leg(event.side, event.transaction_id))
            case WatermarkAdvanced():
                self.watermark_us = self.recorded_watermark_us = event.watermark_us
                book.forget_before(event.watermark_us - self.definition.window.remember_us)
            case ReconciliationDefined():
                self._define(event)
            case ExceptionResolved():
                pass  # the match or suggestion beside it has closed the exception
            case _:
                raise AssertionError(f"{type(event).__name__} is not folded here")

    def _accept(self, journal: list[bytes]) -> None:
        book = self.book
        for packed in journal:
            transaction = unpack_transaction(packed, self.tenant_id, self.reconciliation_id)
            leg = book.leg_of(transaction)
            book.put_in(leg)
            occurred_at = leg.occurred_at
            newest = self.newest[transaction.side]
            if newest is None or occurred_at > newest:
                self.newest[transaction.side] = occurred_at

    def _rule_index(self, name: str) -> int:
        for rule in self.book.rules:
            if rule.name == name:
                return rule.index
        return len(self.book.rules)

    def _close(self, event: RecordMatched | MatchConfirmed, by_rule: int) -> None:
        book = self.book
        sources = [book.open_leg(0, one) for one in event.source_ids]
        targets = [book.open_leg(1, one) for one in event.target_ids]
        book.take_out(sources, targets, event.rule, by_rule, event.newest_ms)

    def _suggest(self, event: MatchSuggested) -> None:
        book = self.book
        sources = tuple(book.open_leg(0, one) for one in event.source_ids)
        targets = tuple(book.open_leg(1, one) for one in event.target_ids)
        index = self._rule_index(event.rule)
        suggestion = Suggestion(event.rule, index, sources, targets, event.single)
        book.suggest(self._match_id(event), suggestion)

    def _match_id(self, event: MatchConfirmed | MatchSuggested) -> str:
        return match_id(
            self.tenant_id,
            self.reconciliation_id,
            event.rule,
            event.source_ids,
            event.target_ids,
            event.newest_ms,
        )

    def _withdraw(self, suggestion_id: str) -> None:
        if suggestion_id in self.book.suggestions:
            self.book.withdraw(suggestion_id)
            # Live they were looked at in the same step; whether that was all is not told.
            self.book.plan_again()

    def _reopen(self, event: MatchReversed) -> None:
        settled = next(
            known
            for side, ids in enumerate(_members(event))
            for known in map(self.book.known[side].get, ids)
            if isinstance(known, Settled)
        )
        self.book.reopen(settled)
        self.book.plan_again()
        if event.command_id is not None:
            self.book.refuse(Refusal(None, *_members(event)))
            self.remember_command(event.command_id)

    def _define(self, event: ReconciliationDefined) -> None:
        definition = parse_definition(event.definition, self.tenant_id, self.reconciliation_id)
        self.definition_version = event.definition_version
        self.remember_command(event.command_id)
        if definition != self.book.definition:
            self.book.use(definition)


def _members(event: MatchRejected | MatchReversed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(event.source_ids), tuple(event.target_ids)
