"""Folding recorded events: the same changes of state that deciding them made.

Deciding live changes the state as it goes; what is folded here is told by the events alone, and a
test holds that both end in the same.
"""

from collections.abc import Sequence
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, cast

from domain.definition_parsing import parse_definition
from domain.errors import SettlerError
from domain.events import (
    CommandRefused,
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
    ReconciliationPaused,
    ReconciliationResumed,
    RecordMatched,
    RecordUnmatched,
    TransactionsAccepted,
    TransactionSuperseded,
    WatermarkAdvanced,
    match_id_of,
)
from domain.matching.legs import PERSON, Leg, Settled, Suggestion
from domain.matching.recalling import Late, pair_off_again, run_of_matches, take_up
from domain.matching.refusals import Refusal
from domain.period_events import PeriodClosed
from domain.periods import day_number
from domain.run_events import (
    ReconciliationCancelled,
    ReconciliationCompleted,
    ReconciliationFailed,
    ReconciliationRetried,
    ReconciliationStarted,
)

if TYPE_CHECKING:
    from domain.reconciliation import Reconciliation


class JournalMissing(SettlerError):
    """A state cannot be folded, because what a batch accepted is no longer there."""

    code = "reconciliation.journal_missing"

    def __init__(self, stream_id: str, version: int) -> None:
        super().__init__(
            f"{stream_id}: the journal of version {version} is not there, so the state cannot be "
            "folded over it. Once journals have expired a stream is folded from the snapshot kept "
            "for them: restore the table snapshots together with event_store, or run the release "
            "that wrote the snapshot"
        )


def fold_event(state: "Reconciliation", event: Event) -> None:  # noqa: C901 - one short case a type
    """Fold one recorded event other than the journal's."""
    book = state.book
    match event:
        case RecordMatched():
            _close(state, event, _rule_index(state, event.rule))
        case MatchConfirmed():
            _close(state, event, PERSON)
            _withdraw(state, match_id_of(state.tenant_id, state.reconciliation_id, event))
            state.remember_command(event.command_id)
        case MatchSuggested():
            _suggest(state, event)
        case MatchSuperseded():
            _withdraw(state, event.match_id)
        case MatchRejected():
            _withdraw(state, event.match_id)
            book.refuse(Refusal(event.rule, *_members(event)))
            state.remember_command(event.command_id)
        case MatchReversed():
            _reopen(state, event)
        case RecordUnmatched() | ExceptionReclassified():
            _open_exception(state, event)
        case DuplicateDetected():
            leg = book.open_leg(event.side, event.transaction_id)
            index = _rule_index(state, event.rule)
            book.set_duplicate(leg, index)
            _look_beside(state, (leg,), index + 1)
        case TransactionSuperseded():
            if not event.late:
                given_way = book.known[event.side][event.transaction_id]
                book.set_superseded(event.side, event.transaction_id, event.superseded_by)
                if isinstance(given_way, Leg):
                    _look_beside(state, (given_way,), 0)
        case CommandRefused():
            state.remember_command(event.command_id)
        case ReconciliationPaused():
            state.paused = True
            state.remember_command(event.command_id)
        case ReconciliationResumed():
            state.paused = False
            state.remember_command(event.command_id)
            for leg in state.book.open_legs():
                book.due.plan(leg, leg.occurred_at + book.looks[0])
        case WatermarkAdvanced():
            state.watermark_us = state.recorded_watermark_us = event.watermark_us
        case PeriodClosed():
            state.closed_day = day_number(event.day)
        case ReconciliationDefined():
            _define(state, event)
        case ReconciliationStarted() | ReconciliationRetried() | ReconciliationCancelled():
            state.runs.evolve(event)
            state.remember_command(event.command_id)
        case ReconciliationCompleted() | ReconciliationFailed():
            state.runs.evolve(event)
        case ExceptionResolved():
            # Any other resolution is of what stands beside it, which has closed the exception.
            if event.resolution == "first_corrected":
                book.release(event.side, event.transaction_id)
                book.plan_again()
        case _:
            raise AssertionError(f"{type(event).__name__} is not folded here")


def fold_accepted(
    state: "Reconciliation", journal: list[bytes], events: list[Event], at: int
) -> None:
    """Fold the transactions of the `TransactionsAccepted` at place `at` of its batch."""
    late = cache(lambda: _told_late(events, at))
    for side, instant in take_up(state.book, journal, late):
        newest = state.newest[side]
        if newest is None or instant > newest:
            state.newest[side] = instant


def _told_late(events: list[Event], at: int) -> Late:
    """Which records of those accepted at place `at` had been corrected before they came."""
    following = map(events.__getitem__, range(at + 1, len(events)))
    of_piece = takewhile(lambda event: not isinstance(event, TransactionsAccepted), following)
    return {
        (event.side, event.transaction_id, event.amount_minor, event.currency): event.superseded_by
        for event in of_piece
        if isinstance(event, TransactionSuperseded) and event.late
    }


def fold_matches(state: "Reconciliation", events: list[Event], begin: int) -> int:
    """Fold the match at place `begin` and those like it that follow; return how many."""
    count = run_of_matches(events, begin)
    run = cast("list[RecordMatched]", events[begin : begin + count])
    if not count or not (closed := pair_off_again(state.book, run)):
        fold_event(state, events[begin])
        return 1
    _look_beside(state, closed, 1)
    return count


def _rule_index(state: "Reconciliation", name: str) -> int:
    for rule in state.book.rules:
        if rule.name == name:
            return rule.index
    return len(state.book.rules)


def _close(state: "Reconciliation", event: RecordMatched | MatchConfirmed, by_rule: int) -> None:
    book = state.book
    sources = [book.open_leg(0, one) for one in event.source_ids]
    targets = [book.open_leg(1, one) for one in event.target_ids]
    book.take_out(sources, targets, event.rule, by_rule, event.newest_ms, event.compared)
    _look_beside(state, (*sources, *targets), 0 if by_rule == PERSON else by_rule + 1)


def _look_beside(state: "Reconciliation", gone: Sequence[Leg], first_rule: int) -> None:
    """Plan a look at those whose surroundings changed.

    Live they were looked at in the same step; what was planned then is not told.
    """
    for leg in gone:
        state.book.stood_beside(leg, first_rule)
    state.book.plan_again()


def _suggest(state: "Reconciliation", event: MatchSuggested) -> None:
    book = state.book
    sources = tuple(book.open_leg(0, one) for one in event.source_ids)
    targets = tuple(book.open_leg(1, one) for one in event.target_ids)
    index = _rule_index(state, event.rule)
    suggestion = Suggestion(event.rule, index, sources, targets, event.single)
    book.suggest(match_id_of(state.tenant_id, state.reconciliation_id, event), suggestion)


def _open_exception(
    state: "Reconciliation", event: RecordUnmatched | ExceptionReclassified
) -> None:
    if event.category == "duplicate":
        return
    leg = state.book.open_leg(event.side, event.transaction_id)
    ids = tuple(candidate.transaction_id for candidate in event.candidates)
    if isinstance(event, RecordUnmatched):
        state.book.open_exception(leg, event.category, ids)
    else:
        state.book.exceptions[leg] = (event.category, ids)


def _withdraw(state: "Reconciliation", suggestion_id: str) -> None:
    if suggestion_id in state.book.suggestions:
        state.book.withdraw(suggestion_id)
        # Live they were looked at in the same step; whether that was all is not told.
        state.book.plan_again()


def _reopen(state: "Reconciliation", event: MatchReversed) -> None:
    settled = next(
        known
        for side, ids in enumerate(_members(event))
        for known in map(state.book.known[side].get, ids)
        if isinstance(known, Settled)
    )
    sources, targets = state.book.reopen(settled)
    _look_beside(state, (*sources, *targets), 0)
    if event.command_id is not None:
        state.book.refuse(Refusal(None, *_members(event)))
        state.remember_command(event.command_id)


def _define(state: "Reconciliation", event: ReconciliationDefined) -> None:
    definition = parse_definition(event.definition, state.tenant_id, state.reconciliation_id)
    state.definition_version = event.definition_version
    state.remember_command(event.command_id)
    if definition != state.book.definition:
        if not state.book.has_same_rules(definition):
            state.frozen.change_rules()
        state.book.use(definition)


def _members(event: MatchRejected | MatchReversed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(event.source_ids), tuple(event.target_ids)
