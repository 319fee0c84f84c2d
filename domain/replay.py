"""A reconciliation as it stood at a version of its stream, folded from what is kept of it."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from domain.definition_parsing import parse_definition
from domain.errors import SettlerError
from domain.events import Event, ReconciliationDefined, TransactionsAccepted
from domain.identity import exception_id
from domain.instants import InstantInvalid, instant_text, parse_occurred_at
from domain.matching.legs import DISPOSITIONS, Leg, by_time
from domain.money import amount_text
from domain.reconciliation import Reconciliation
from domain.transactions import SIDE_NAMES

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION = re.compile(r"[0-9]{1,18}")


class AsOfInvalid(SettlerError):
    """A text names no moment of the log."""

    code = "as_of.invalid"


class AsOf(NamedTuple):
    """A moment of the log, one of the two: an event's position, or an instant of storing.

    What was committed together counts together: with the event of a position goes all of its batch,
    for nobody ever saw one without the other.
    """

    position: int | None = None
    instant: datetime | None = None

    def __str__(self) -> str:
        if self.instant is None:
            return f"position {self.position}"
        return self.instant.isoformat().replace("+00:00", "Z")


def parse_as_of(text: str) -> AsOf:
    """Read a position, as digits, or an instant of RFC 3339 with its offset.

    Raises:
        AsOfInvalid: It is neither.
    """
    if _POSITION.fullmatch(text):
        return AsOf(position=int(text))
    try:
        instant_us, is_date = parse_occurred_at(text)
    except InstantInvalid as problem:
        raise AsOfInvalid(f"is neither a position nor an instant: it {problem}") from problem
    if is_date:
        raise AsOfInvalid("is a date without a time; write an instant such as 2026-03-02T18:00:00Z")
    return AsOf(instant=_EPOCH + timedelta(microseconds=instant_us))


class PastNotKept(SettlerError):
    """What a state would have to be folded from has expired."""

    code = "replay.past_not_kept"


def fold_batch(
    state: Reconciliation | None,
    base_version: int,
    events: Sequence[Event],
    journal: Sequence[bytes],
) -> Reconciliation:
    """Fold what of a batch lies behind a state; returns the state, changed.

    Args:
        state: None before a stream's first batch.
        base_version: Of the batch; it may begin before the state.
        journal: The packed transactions that all of the batch accepted.

    Raises:
        JournalMissing: The journal holds fewer than the events say.
    """
    if state is None:
        first = events[0]
        assert isinstance(first, ReconciliationDefined), "a stream starts with its definition"
        state = Reconciliation(parse_definition(first.definition))
    begin = state.version - base_version
    state.evolve_all(list(events[begin:]), list(journal[_accepted(events[:begin]) :]))
    return state


def _accepted(events: Iterable[Event]) -> int:
    """Count the transactions that events say were accepted."""
    return sum(event.count for event in events if isinstance(event, TransactionsAccepted))


def open_tallies(state: Reconciliation) -> dict[tuple[str, str], dict[str, tuple[int, int]]]:
    """Give (side, currency) → place → count and sum in minor units of what is open."""
    tallies: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    for leg in state.book.open_legs():
        of_key = tallies.setdefault((SIDE_NAMES[leg.side], leg.currency), {})
        place = DISPOSITIONS[leg.disposition]
        count, sum_minor = of_key.get(place, (0, 0))
        of_key[place] = (count + 1, sum_minor + leg.amount_minor)
    return tallies


def show_state(state: Reconciliation, limit: int | None = None) -> dict[str, Any]:
    """Give a state as plain values, in an order that depends on nothing but its content.

    Args:
        limit: Open transactions, exceptions and suggestions shown at most, each; None shows all.
    """
    book = state.book
    legs = state.book.open_legs()
    exceptions = sorted(book.exceptions.items(), key=lambda item: by_time(item[0]))
    suggestions = sorted(book.suggestions.items())
    return {
        "definition_version": state.definition_version,
        "status": "paused" if state.paused else "active",
        "event_time": _when(state.recorded_watermark_us),
        "newest": {SIDE_NAMES[side]: _when(newest) for side, newest in enumerate(state.newest)},
        "open": [_show_leg(leg) for leg in legs[:limit]],
        "exceptions": [
            {
                "exception_id": exception_id(
                    state.tenant_id,
                    state.reconciliation_id,
                    SIDE_NAMES[leg.side],
                    leg.transaction_id,
                ),
                "side": SIDE_NAMES[leg.side],
                "transaction_id": leg.transaction_id,
                "category": category,
                "amount": amount_text(leg.amount_minor, leg.currency),
                "currency": leg.currency,
                "candidates": list(candidates),
            }
            for leg, (category, candidates) in exceptions[:limit]
        ],
        "suggestions": [
            {
                "match_id": identity,
                "rule": one.rule,
                "source_ids": [leg.transaction_id for leg in one.sources],
                "target_ids": [leg.transaction_id for leg in one.targets],
                "single": one.single,
            }
            for identity, one in suggestions[:limit]
        ],
    }


def _show_leg(leg: Leg) -> dict[str, Any]:
    return {
        "side": SIDE_NAMES[leg.side],
        "transaction_id": leg.transaction_id,
        "amount": amount_text(leg.amount_minor, leg.currency),
        "currency": leg.currency,
        "occurred_at": instant_text(leg.occurred_at),
        "place": DISPOSITIONS[leg.disposition],
        "suggestions": sorted(leg.suggestions),
    }


def _when(instant_us: int | None) -> str | None:
    return None if instant_us is None else instant_text(instant_us)
