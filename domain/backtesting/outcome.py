"""What a stream of decisions came to so far: matches, standing suggestions, open exceptions."""

from collections.abc import Iterable
from typing import NamedTuple

from domain.events import (
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    RecordUnmatched,
    match_id_of,
)

#: Side and transaction id.
Place = tuple[int, str]
#: Source ids and target ids, each sorted.
Members = tuple[tuple[str, ...], tuple[str, ...]]


def places_of(members: Members) -> list[Place]:
    """Members one by one."""
    return [(0, one) for one in members[0]] + [(1, one) for one in members[1]]


class Matched(NamedTuple):
    """A match or a suggestion; ids are sorted, the amount is the source side's sum."""

    rule: str
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    currency: str
    source_minor: int
    target_minor: int

    @property
    def members(self) -> Members:
        """Who it is of, whatever the rule."""
        return self.source_ids, self.target_ids

    def places(self) -> list[Place]:
        """Its members one by one."""
        return places_of(self.members)


class Step(NamedTuple):
    """A match that was made, or undone: by a person, or because a member was corrected."""

    match: Matched
    undone: bool


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
        several: Those of them that hold several possible matches.
        cases: Open exceptions, duplicates among them.
        by_people: Members of the standing matches that people made.
    """

    def __init__(self, tenant_id: str, reconciliation_id: str) -> None:
        self._scope = tenant_id, reconciliation_id
        self.suggestions: dict[str, Matched] = {}
        self.several: set[str] = set()
        self.cases: dict[Place, Case] = {}
        self.by_people: set[Members] = set()

    def fold(self, events: Iterable[Event]) -> list[Step]:
        """Take in decided events, in order; returns what became of matches."""
        steps: list[Step] = []
        for event in events:
            match event:
                case RecordMatched():
                    steps.append(Step(matched(event), undone=False))
                case MatchConfirmed():
                    one = matched(event)
                    self.by_people.add(one.members)
                    # Of a suggestion as a whole it ends it; of a part, a further event does.
                    self._end_suggestion(self._match_id(event))
                    steps.append(Step(one, undone=False))
                case MatchReversed():
                    one = matched(event)
                    self.by_people.discard(one.members)
                    steps.append(Step(one, undone=True))
                case MatchSuggested():
                    name = self._match_id(event)
                    self.suggestions[name] = matched(event)
                    if not event.single:
                        self.several.add(name)
                case MatchSuperseded() | MatchRejected():
                    self._end_suggestion(event.match_id)
                case RecordUnmatched():
                    self.cases[event.side, event.transaction_id] = Case(
                        event.category, event.amount_minor, event.currency
                    )
                case ExceptionReclassified():
                    place = event.side, event.transaction_id
                    self.cases[place] = self.cases[place]._replace(category=event.category)
                case ExceptionResolved():
                    self.cases.pop((event.side, event.transaction_id), None)
        return steps

    def _end_suggestion(self, name: str) -> None:
        self.suggestions.pop(name, None)
        self.several.discard(name)

    def _match_id(self, event: MatchSuggested | MatchConfirmed) -> str:
        return match_id_of(*self._scope, event)


class Standings:
    """Where transactions stand that an outcome has in no match."""

    def __init__(self, outcome: Outcome) -> None:
        self._cases = outcome.cases
        self._suggested = {place for one in outcome.suggestions.values() for place in one.places()}

    def of(self, place: Place) -> str:
        """Its exception's category, `suggested`, or `pending`."""
        if place in self._cases:
            return self._cases[place].category
        return "suggested" if place in self._suggested else "pending"


def matched(event: RecordMatched | MatchSuggested | MatchConfirmed | MatchReversed) -> Matched:
    """Give what an event says of a match."""
    return Matched(
        event.rule,
        tuple(event.source_ids),
        tuple(event.target_ids),
        event.currency,
        event.source_minor,
        event.target_minor,
    )
