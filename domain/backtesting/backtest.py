"""A changed definition run over the recorded history of a reconciliation.

The candidate sees what the reconciliation saw, in the order it arrived, and event time passes for
it when it passed then: what had not arrived yet when a match became final cannot be part of it.
Where its `lateness` differs from the one then in force, its event time trails by its own.

Decided here:

- People's decisions come when they came; `domain.backtesting.people` says what becomes of each.
  Pauses are kept: what arrives meanwhile is decided when matching goes on.
- Runs begin and end when they did: what they had remembered, the candidate remembers as long.
- What was refused then (a conflicting duplicate, a record older than ids are remembered) is in no
  journal and is not tried again.
- A range is one of event time. A recorded match with members on both sides of its ends says
  nothing about the definition; it and what the candidate makes of its members are left out.
"""

from collections.abc import Sequence
from typing import get_args

from domain.backtesting.comparison import (
    CANDIDATE,
    RECORDED,
    CaseDifferences,
    MatchComparison,
    compare_cases,
    compare_suggestions,
)
from domain.backtesting.outcome import Members, Outcome, Place, Step, matched, places_of
from domain.backtesting.people import People, decided_by
from domain.commands import Pause, Resume
from domain.definition_parsing import parse_definition
from domain.definitions import Definition
from domain.errors import SettlerError
from domain.events import (
    Event,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    ReconciliationDefined,
    ReconciliationPaused,
    ReconciliationResumed,
    RecordMatched,
    RecordUnmatched,
    TransactionsAccepted,
    TransactionSuperseded,
    WatermarkAdvanced,
)
from domain.matching.cases import END_OF_TIME_US
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.run_events import RunEvent
from domain.runs import Runs
from domain.transactions import Transaction, unpack_transaction

_RUN_EVENTS = get_args(RunEvent)


class _RecordedRuns(Runs):
    """Runs that end when they ended in the history, not when the candidate is through with them."""

    def complete(self, *_: object) -> list[Event]:
        """Complete none."""
        return []


class HistoryExpired(SettlerError):
    """What a reconciliation accepted is recorded no longer."""

    code = "backtest.history_expired"


class Backtest:
    """One run; read every recorded batch in order, then `end` it.

    Attributes:
        matches: The matches of both sides.
        recorded, candidate: What both came to.
        people: What people decided, and whether the candidate met it.
        transactions: How many were taken in.
        refused: How many of them the candidate refuses, such as for a shorter `window.remember`.
        straddling: Recorded matches and suggestions that the range cuts through.
        beyond: Of a range: who is in it and was matched, suggested or corrected beyond it.
        recorded_version: The definition version in force at the end of the log.

    Args:
        definition: The candidate.
        from_us, to_us: Only transactions that occurred from the one and before the other,
            microseconds since the epoch, a bare date at its beginning in UTC; None is unbounded.
    """

    def __init__(
        self, definition: Definition, from_us: int | None = None, to_us: int | None = None
    ) -> None:
        scope = definition.tenant_id, definition.reconciliation_id
        self.definition = definition
        self.matches = MatchComparison()
        self.recorded, self.candidate = Outcome(*scope), Outcome(*scope)
        self.transactions = self.refused = self.straddling = self.recorded_version = 0
        self._range = from_us, to_us
        self._bounded = from_us is not None or to_us is not None
        self.beyond: set[Place] = set()
        # Of a range: who is in it, and who of them gave way to whom.
        self._inside: set[Place] = set()
        self._corrected: list[tuple[Place, Place]] = []
        self._state = Reconciliation(definition)
        self._state.runs = _RecordedRuns()
        self.people = People(self._state)
        self._lateness_us = definition.window.lateness_us
        self._immediate: set[str] = set()
        #: The newest event, or the clock, that recorded event time trails.
        self._seen_us: int | None = None
        # Whether something recorded shows that what was due was decided, and whether a person
        # decided since: what follows from that then is due only when the flow comes back to it.
        self._unsettled = self._asked = False

    def read(self, events: Sequence[Event], journal: Sequence[bytes]) -> None:
        """Read one recorded batch, whose journal holds the transactions it accepted.

        Raises:
            HistoryExpired: It holds fewer: journals have expired.
        """
        place = 0
        for event in events:
            match event:
                case TransactionsAccepted():
                    self._settle()
                    count = event.count
                    if place + count > len(journal):
                        raise HistoryExpired(
                            "journals of this reconciliation have expired, so what it accepted "
                            "then cannot be run again; a backup from before still can"
                        )
                    self._accept(journal[place : place + count])
                    place += count
                case WatermarkAdvanced():
                    self._unsettled = self._asked = False
                    self._seen_us = event.watermark_us + self._lateness_us
                    self._let_time_pass(event.watermark_us == END_OF_TIME_US)
                case ReconciliationDefined():
                    in_force = parse_definition(event.definition)
                    self._lateness_us = in_force.window.lateness_us
                    self._immediate = {rule.name for rule in in_force.rules if rule.immediate}
                    self.recorded_version = event.definition_version
                case _:
                    self._read_decided(event)
        self._settle()

    def _read_decided(self, event: Event) -> None:
        match event:
            case MatchConfirmed() | MatchRejected() | MatchReversed():
                several = isinstance(event, MatchRejected) and (
                    event.match_id in self.recorded.several
                )
                decided = decided_by(event, several)
                self._settle()
                self._note_recorded(self.recorded.fold((event,)))
                if decided is not None and self._is_inside(decided.members):
                    self._asked = True
                    self._note_candidate(self.people.meet(decided))
            case ReconciliationPaused() | ReconciliationResumed():
                self._settle()
                self._asked = True
                asked = Pause if isinstance(event, ReconciliationPaused) else Resume
                decision = self._state.decide(asked(event.reason), event.command_id)
                self._note_candidate(decision.events)
            case TransactionSuperseded():
                place = event.side, event.transaction_id
                self.people.forget(place)
                if self._bounded:
                    self._corrected.append((place, (event.side, event.superseded_by)))
            case _ if isinstance(event, _RUN_EVENTS):
                self._settle()
                self._state.runs.evolve(event)
            case _:
                if isinstance(event, RecordMatched):
                    self.people.overrule(matched(event))
                self._unsettled = self._unsettled or self._shows_settling(event)
                self._note_recorded(self.recorded.fold((event,)))

    def _shows_settling(self, event: Event) -> bool:
        """Whether only passing time decides this: arrivals and people's decisions do not."""
        match event:
            case RecordMatched() | MatchSuggested():
                return event.rule not in self._immediate
            case RecordUnmatched():
                return event.category != "duplicate"
        return False

    def end(self) -> None:
        """Bring the candidate to the recorded event time and settle what the range cuts through."""
        self._unsettled = not self._asked
        self._settle()
        if not self._bounded:
            return
        recorded, candidate = self.recorded, self.candidate
        for name, one in list(recorded.suggestions.items()):
            inside = self._inside.intersection(one.places())
            if len(inside) != len(one.places()):
                del recorded.suggestions[name]
                self.beyond |= inside
                self.straddling += bool(inside)
        for place, by in self._corrected:
            # The candidate never saw the correction.
            if place in self._inside and by not in self._inside:
                self.beyond.add(place)
        self.matches.drop_candidates_of(self.beyond)
        for name, one in list(candidate.suggestions.items()):
            if not self.beyond.isdisjoint(one.places()):
                del candidate.suggestions[name]
        recorded.cases = {place: case for place, case in recorded.cases.items()
                          if place in self._inside and place not in self.beyond}  # fmt: skip
        candidate.cases = {place: case for place, case in candidate.cases.items()
                           if place not in self.beyond}  # fmt: skip

    def suggestions(self) -> MatchComparison:
        """The standing suggestions of both sides."""
        return compare_suggestions(
            list(self.recorded.suggestions.values()), list(self.candidate.suggestions.values())
        )

    def cases(self) -> CaseDifferences:
        """What became of open exceptions."""
        return compare_cases(self.recorded.cases, self.candidate.cases)

    def _accept(self, journal: Sequence[bytes]) -> None:
        definition = self.definition
        scope = definition.tenant_id, definition.reconciliation_id
        taken = [
            one
            for one in (unpack_transaction(packed, *scope) for packed in journal)
            if self._in_range(one)
        ]
        if self._bounded:
            self._inside.update((one.side, one.transaction_id) for one in taken)
        self.transactions += len(taken)
        self._asked = False
        # A clock of zero: input is long past whenever recorded time passes.
        decision = self._state.advance(Chunk(taken, now_us=0))
        self.refused += len(decision.rejections)
        self._note_candidate(decision.events)

    def _in_range(self, transaction: Transaction) -> bool:
        begin, end = self._range
        occurred_at = transaction.occurred_at
        return (begin is None or begin <= occurred_at) and (end is None or occurred_at < end)

    def _note_recorded(self, steps: list[Step]) -> None:
        for step in steps:
            if self._is_inside(step.match.members):
                self.matches.note(RECORDED, (step,))
                continue
            inside = self._inside.intersection(step.match.places())
            if step.undone:
                self.beyond -= inside
                self.straddling -= bool(inside)
            else:
                self.beyond |= inside
                self.straddling += bool(inside)

    def _note_candidate(self, events: list[Event]) -> None:
        while events:
            self.matches.note(CANDIDATE, self.candidate.fold(events))
            events = self.people.answer(events)

    def _is_inside(self, members: Members) -> bool:
        return not self._bounded or self._inside.issuperset(places_of(members))

    def _settle(self) -> None:
        """Settle what was due already, where decisions were recorded without time moving."""
        if not self._unsettled or self._seen_us is None:
            return
        self._unsettled = False
        source, target = self._state.newest
        behind = source is None or target is None or min(source, target) <= self._seen_us
        if behind:
            self._let_time_pass(ended=False)

    def _let_time_pass(self, ended: bool) -> None:
        assert self._seen_us is not None
        decision = (
            self._state.finish() if ended else self._state.tick(Tick(self._seen_us, caught_up=True))
        )
        self._note_candidate(decision.events)
