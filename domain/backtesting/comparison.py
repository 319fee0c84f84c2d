"""Two outcomes side by side: what only one of them has.

Matches that both have cancel out as soon as both are known, so memory is that of the differences
and of what one side decided before the other, not of all matches.
"""

from collections.abc import Iterable
from typing import NamedTuple

from domain.backtesting.outcome import Case, Matched, Members, Place, Step

RECORDED, CANDIDATE = 0, 1


class Change(NamedTuple):
    """A match that the candidate makes of other members or by another rule."""

    recorded: Matched
    candidate: tuple[Matched, ...]

    @property
    def by_rule_only(self) -> bool:
        """The members are the same."""
        return [one.members for one in self.candidate] == [self.recorded.members]


class MatchDifferences(NamedTuple):
    """Matches by what became of them, in order of their ids."""

    gained: list[Matched]
    lost: list[Matched]
    changed: list[Change]


class CaseDifferences(NamedTuple):
    """Open exceptions by what became of them, in order of side and id."""

    gained: list[tuple[Place, Case]]
    lost: list[tuple[Place, Case]]
    recategorised: list[tuple[Place, Case, Case]]


class MatchComparison:
    """Matches of both sides.

    Attributes:
        unchanged: Matches that both have, by the same rule.
        matches: How many each side has, recorded and candidate.
        transactions: How many transactions are in them.
    """

    def __init__(self) -> None:
        self.unchanged = 0
        self.matches = [0, 0]
        self.transactions = [0, 0]
        # Of some members: the matches that the other side does not have, recorded and candidate.
        self._open: dict[Members, tuple[list[Matched], list[Matched]]] = {}

    def note(self, whose: int, steps: Iterable[Step]) -> None:
        """Note matches that one side made or undid."""
        for one, undone in steps:
            sign = -1 if undone else 1
            self.matches[whose] += sign
            self.transactions[whose] += sign * (len(one.source_ids) + len(one.target_ids))
            # A match undone is made on the other side: where both had it, that has it alone now.
            here, there = (1 - whose, whose) if undone else (whose, 1 - whose)
            known = self._open.setdefault(one.members, ([], []))
            same = next((other for other in known[there] if other.rule == one.rule), None)
            if same is None:
                known[here].append(one)
                self.unchanged -= undone
                continue
            known[there].remove(same)
            self.unchanged += not undone
            if not any(known):
                del self._open[one.members]

    def has(self, whose: int, members: Members) -> bool:
        """Whether one side has a match of these members that either side has."""
        known = self._open.get(members)
        return known is None or bool(known[whose])

    def drop_candidates_of(self, places: set[Place]) -> int:
        """Leave out what the candidate made of some transactions; returns how many matches."""
        dropped = 0
        for _, candidates in self._open.values():
            for one in candidates[:]:
                if not places.isdisjoint(one.places()):
                    candidates.remove(one)
                    self.matches[CANDIDATE] -= 1
                    self.transactions[CANDIDATE] -= len(one.source_ids) + len(one.target_ids)
                    dropped += 1
        return dropped

    def differences(self) -> MatchDifferences:
        """What only one side has; a match and those that share its members are one change."""
        recorded = sorted(one for known in self._open.values() for one in known[RECORDED])
        candidates = sorted(one for known in self._open.values() for one in known[CANDIDATE])
        at: dict[Place, Matched] = {}
        for one in candidates:
            at.update(dict.fromkeys(one.places(), one))
        changed, lost = [], []
        met: set[Place] = set()
        for one in recorded:
            places = one.places()
            met.update(places)
            instead = dict.fromkeys(at[place] for place in places if place in at)
            if instead:
                changed.append(Change(one, tuple(instead)))
            else:
                lost.append(one)
        gained = [one for one in candidates if met.isdisjoint(one.places())]
        return MatchDifferences(_by_ids(gained), _by_ids(lost), changed)


def _by_ids(matches: list[Matched]) -> list[Matched]:
    return sorted(matches, key=lambda one: (one.members, one.rule))


def compare_suggestions(recorded: list[Matched], candidate: list[Matched]) -> MatchComparison:
    """Standing suggestions of both sides."""
    comparison = MatchComparison()
    comparison.note(RECORDED, (Step(one, undone=False) for one in recorded))
    comparison.note(CANDIDATE, (Step(one, undone=False) for one in candidate))
    return comparison


def compare_cases(recorded: dict[Place, Case], candidate: dict[Place, Case]) -> CaseDifferences:
    """Open exceptions of both sides."""
    both = sorted(recorded.keys() & candidate.keys())
    return CaseDifferences(
        [(place, candidate[place]) for place in sorted(candidate.keys() - recorded.keys())],
        [(place, recorded[place]) for place in sorted(recorded.keys() - candidate.keys())],
        [
            (place, recorded[place], candidate[place])
            for place in both
            if recorded[place].category != candidate[place].category
        ],
    )
