"""Where the candidate and people's decisions agree, and where they do not.

Only what differs from the recorded outcome contradicts: a refusal that the history itself went
against later stands no longer.
"""

from typing import NamedTuple

from domain.backtesting.backtest import Backtest
from domain.backtesting.comparison import CANDIDATE, MatchDifferences
from domain.backtesting.outcome import Matched, places_of
from domain.backtesting.people import MADE, REFUSED, Decided, Kind

#: What became of a decision. Of what people made: a rule makes it by itself, people make it again,
#: or it is not made. Of what they refused: it never comes up, people refuse it again, they are
#: asked about it anew, or it is made and stands.
FATES: dict[Kind, tuple[str, ...]] = {
    **dict.fromkeys(MADE, ("by_rules", "by_people", "contradicted")),
    **dict.fromkeys(REFUSED, ("avoided", "repeated", "asked_again", "contradicted")),
}


class Contradiction(NamedTuple):
    """A person's decision, and the candidate's matches that stand against it, if any does."""

    decided: Decided
    candidate: tuple[Matched, ...]


class Judgement(NamedTuple):
    """What became of every decision that stands, and those that are contradicted."""

    fates: dict[Kind, dict[str, int]]
    contradictions: list[Contradiction]


def judge(backtest: Backtest, differences: MatchDifferences) -> Judgement:
    """Hold an ended backtest against what people decided; contradictions go by kind and ids."""
    fates: dict[Kind, dict[str, int]] = {
        kind: dict.fromkeys(("count", *of_kind), 0) for kind, of_kind in FATES.items()
    }
    against = _against(backtest, differences)
    asked = {one.members for one in backtest.candidate.suggestions.values()}
    asked -= {one.members for one in backtest.recorded.suggestions.values()}
    contradictions = []
    for decided in backtest.people.standing():
        if not backtest.beyond.isdisjoint(places_of(decided.members)):
            continue
        matches = tuple(sorted(against.get(decided, ()), key=lambda one: one.members))
        fate = _fate(backtest, decided, bool(matches), decided.members in asked)
        fates[decided.kind]["count"] += 1
        fates[decided.kind][fate] += 1
        if fate == "contradicted":
            contradictions.append(Contradiction(decided, matches))
    order = list(FATES)
    contradictions.sort(key=lambda one: (order.index(one.decided.kind), one.decided.members))
    return Judgement(fates, contradictions)


def _fate(backtest: Backtest, decided: Decided, opposed: bool, asked: bool) -> str:
    if decided.kind in MADE:
        if not backtest.matches.has(CANDIDATE, decided.members):
            return "contradicted"
        by_people = decided.members in backtest.candidate.by_people
        return "by_people" if by_people else "by_rules"
    if opposed:
        return "contradicted"
    if asked:
        return "asked_again"
    return "repeated" if decided.met else "avoided"


def _against(backtest: Backtest, differences: MatchDifferences) -> dict[Decided, list[Matched]]:
    """The candidate's own matches by the decisions they stand against."""
    own = dict.fromkeys(differences.gained)
    for change in differences.changed:
        own |= dict.fromkeys(change.candidate)
    against: dict[Decided, list[Matched]] = {}
    for one in own:
        places = one.places()
        decisions = {decided: None for place in places for decided in backtest.people.naming(place)}
        for decided in decisions:
            if decided.is_against(one):
                against.setdefault(decided, []).append(one)
    return against
