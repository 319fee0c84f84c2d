"""What a stream of decisions came to so far: matches, standing suggestions, open exceptions."""

from collections.abc import Iterable
from typing import NamedTuple

from domain.events import (
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    RecordUnmatched,
)
from domain.identity import match_id

#: Side and transaction id.
Place = tuple[int, str]


class Matched(NamedTuple):
    """A match or a suggestion; ids are sorted, the amount is the source side's sum."""

    rule: str
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    currency: str
    source_minor: int
    target_minor: int

    @property
    def members(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Who it is of, whatever the rule."""
        return self.source_ids, self.target_ids

    def places(self) -> list[Place]:
        """Its members one by one."""
        return [(0, one) for one in self.source_ids] + [(1, one) for one in self.target_ids]


class Case(NamedTuple):
    """An open exception."""

    category: str
    amount_minor: int
    currency: str


class Outcome:
    """Folds the events of decisions.

    Matches are handed out as they fall, so that they need not be kept.

    Attributes:
        suggestions: Standing suggestions by match id.
        cases: Open exceptions, duplicates among them.
    """

    def __init__(self, tenant_id: str, reconciliation_id: str) -> None:
        self._scope = tenant_id, reconciliation_id
        self.suggestions: dict[str, Matched] = {}
        self.cases: dict[Place, Case] = {}

    def fold(self, events: Iterable[Event]) -> list[Matched]:
        """Take in decided events, in order; returns the matches among them."""
        matches: list[Matched] = []
        for event in events:
            match event:
                case RecordMatched():
                    matches.append(_matched(event))
                case MatchSuggested():
                    self.suggestions[self._match_id(event)] = _matched(event)
                case MatchSuperseded():
                    self.suggestions.pop(event.match_id, None)
                case RecordUnmatched():
                    self.cases[event.side, event.transaction_id] = Case(
                        event.category, event.amount_minor, event.currency
                    )
                case ExceptionReclassified():
                    place = event.side, event.transaction_id
                    self.cases[place] = self.cases[place]._replace(category=event.category)
                case ExceptionResolved():
                    self.cases.pop((event.side, event.transaction_id), None)
        return matches

    def _match_id(self, event: MatchSuggested) -> str:
        return match_id(
            *self._scope, event.rule, event.source_ids, event.target_ids, event.newest_ms
        )


def _matched(event: RecordMatched | MatchSuggested) -> Matched:
    return Matched(
        event.rule,
        tuple(event.source_ids),
        tuple(event.target_ids),
        event.currency,
        event.source_minor,
        event.target_minor,
    )
