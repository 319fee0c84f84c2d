"""A changed definition run over the recorded history of a reconciliation.

The candidate sees what the reconciliation saw, in the order it arrived, and event time passes for
it when it passed then: what had not arrived yet when a match became final cannot be part of it.
Where its `lateness` differs from the one then in force, its event time trails by its own.

Decided here:

- What was refused then (a conflicting duplicate, a record older than ids are remembered) is in no
  journal and is not tried again.
- A range is one of event time. A recorded match with members on both sides of its ends says
  nothing about the definition; it and what the candidate makes of its members are left out.
"""

from collections.abc import Sequence

from domain.backtesting.comparison import (
    CANDIDATE,
    RECORDED,
    CaseDifferences,
    MatchComparison,
    compare_cases,
    compare_suggestions,
)
from domain.backtesting.outcome import Matched, Outcome, Place
from domain.definition_parsing import parse_definition
from domain.definitions import Definition
from domain.events import (
    Event,
    ReconciliationDefined,
    TransactionsAccepted,
    WatermarkAdvanced,
)
from domain.matching.cases import END_OF_TIME_US
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.transactions import Transaction, unpack_transaction


class Backtest:
    """One run; read every recorded batch in order, then `end` it.

    Attributes:
        matches: The matches of both sides.
        recorded, candidate: What both came to.
        transactions: How many were taken in.
        refused: How many of them the candidate refuses, such as for a shorter `window.remember`.
        straddling: Recorded matches and suggestions that the range cuts through.
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
        # Of a range: who is in it and in no recorded match yet, and who matched beyond it.
        self._inside: set[Place] = set()
        self._beyond: set[Place] = set()
        self._state = Reconciliation(definition)
        self._lateness_us = definition.window.lateness_us
        #: The newest event, or the clock, that recorded event time trails.
        self._seen_us: int | None = None
        self._unsettled = False

    def read(self, events: Sequence[Event], journal: Sequence[bytes]) -> None:
        """Read one recorded batch, whose journal holds the transactions it accepted."""
        place = 0
        for event in events:
            match event:
                case TransactionsAccepted():
                    self._settle()
                    count = sum(entry[2] for entry in event.counts)
                    self._accept(journal[place : place + count])
                    place += count
                case WatermarkAdvanced():
                    self._unsettled = False
                    self._seen_us = event.watermark_us + self._lateness_us
                    self._let_time_pass(event.watermark_us == END_OF_TIME_US)
                case ReconciliationDefined():
                    in_force = parse_definition(event.definition)
                    self._lateness_us = in_force.window.lateness_us
                    self.recorded_version = event.definition_version
                case _:
                    self._unsettled = True
                    self._note_recorded(self.recorded.fold((event,)))
        self._settle()

    def end(self) -> None:
        """Bring the candidate to the recorded event time and settle what the range cuts through."""
        self._unsettled = True
        self._settle()
        if not self._bounded:
            return
        recorded, candidate = self.recorded, self.candidate
        for name, one in list(recorded.suggestions.items()):
            inside = self._inside.intersection(one.places())
            if len(inside) != len(one.places()):
                del recorded.suggestions[name]
                self._beyond |= inside
                self.straddling += bool(inside)
        self.matches.drop_candidates_of(self._beyond)
        for name, one in list(candidate.suggestions.items()):
            if not self._beyond.isdisjoint(one.places()):
                del candidate.suggestions[name]
        recorded.cases = {place: case for place, case in recorded.cases.items()
                          if place in self._inside and place not in self._beyond}  # fmt: skip
        candidate.cases = {place: case for place, case in candidate.cases.items()
                           if place not in self._beyond}  # fmt: skip

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
        # A clock of zero: input is long past whenever recorded time passes.
        decision = self._state.advance(Chunk(taken, now_us=0))
        self.refused += len(decision.rejections)
        self.matches.add(CANDIDATE, self.candidate.fold(decision.events))

    def _in_range(self, transaction: Transaction) -> bool:
        begin, end = self._range
        occurred_at = transaction.occurred_at
        return (begin is None or begin <= occurred_at) and (end is None or occurred_at < end)

    def _note_recorded(self, matches: list[Matched]) -> None:
        if self._bounded:
            matches = [one for one in matches if self._is_inside(one)]
        self.matches.add(RECORDED, matches)

    def _is_inside(self, one: Matched) -> bool:
        places = one.places()
        inside = self._inside.intersection(places)
        self._inside -= inside
        if len(inside) == len(places):
            return True
        self._beyond |= inside
        self.straddling += bool(inside)
        return False

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
        self.matches.add(CANDIDATE, self.candidate.fold(decision.events))
