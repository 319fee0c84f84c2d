"""What people decided in the recorded history, and how the candidate meets it.

People are taken to know what they knew then, and to do no more than they did then:

- A match by hand is made where it was made, when its members are open for the candidate, too.
- A suggestion is confirmed where it was, or as soon as the candidate suggests these members: by
  whatever rule, and be it among others. One that it never suggests is not confirmed.
- A suggestion is rejected when the candidate makes the same one, then or later. The same members
  asked about by another rule, or matched by a rule without asking, are a finding.
- A match is reversed if the candidate has it when it was reversed. One that it makes only later
  stands, and is a finding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from domain.backtesting.outcome import Matched, Members, Place, matched, places_of
from domain.commands import (
    MANUAL,
    CannotBeDone,
    ConfirmMatch,
    MatchByHand,
    MatchCommand,
    RejectMatch,
    ReverseMatch,
)
from domain.events import Event, MatchConfirmed, MatchRejected, MatchReversed, MatchSuggested
from domain.identity import match_id
from domain.matching.legs import Leg, Settled
from domain.reconciliation import Reconciliation

Kind = Literal["confirmed", "by_hand", "rejected", "reversed"]
#: What people made, and what they undid or would not have.
MADE: tuple[Kind, ...] = ("confirmed", "by_hand")
REFUSED: tuple[Kind, ...] = ("rejected", "reversed")


@dataclass(slots=True, eq=False)
class Decided:
    """One decision of a person.

    Attributes:
        rule: Of the suggestion or match that it was about; "manual" for a match by hand.
        suggestion_id: Of what was confirmed or rejected.
        match: What was made; None of a refusal.
        several: What was rejected held several possible matches, so it is none of them.
        met: The candidate came to where it could be taken again, and it was.
    """

    kind: Kind
    rule: str
    members: Members
    reason: str | None
    command_id: str
    suggestion_id: str | None = None
    match: Matched | None = None
    several: bool = False
    met: bool = False

    def is_against(self, match: Matched) -> bool:
        """Whether a match that shares members with it cannot be where the decision stands."""
        if self.kind in MADE:
            return match.members != self.members
        if self.several:
            # None of the matches that the set held was one.
            return set(places_of(self.members)).issuperset(match.places())
        # More or fewer members are another match: a lacking one is a usual reason to refuse.
        return match.members == self.members


def decided_by(event: Event, several: bool) -> Decided | None:
    """Read a person's decision off an event; None where it is none.

    Args:
        several: For a rejection: the suggestion held several possible matches.
    """
    match event:
        case MatchConfirmed():
            one = matched(event)
            kind: Kind = "by_hand" if event.rule == MANUAL else "confirmed"
            return Decided(
                kind, one.rule, one.members, event.reason, event.command_id,
                event.suggestion_id, one,
            )  # fmt: skip
        case MatchRejected():
            members = tuple(event.source_ids), tuple(event.target_ids)
            return Decided(
                "rejected", event.rule, members, event.reason, event.command_id,
                event.match_id, None, several,
            )  # fmt: skip
        case MatchReversed() if event.command_id is not None:
            members = tuple(event.source_ids), tuple(event.target_ids)
            return Decided("reversed", event.rule, members, event.reason, event.command_id)
    return None


class People:
    """The decisions that stand: the last one on the same members, unless overruled.

    Args:
        state: The candidate's, in which they are taken again.
    """

    def __init__(self, state: Reconciliation) -> None:
        self._state = state
        self._standing: dict[Members, Decided] = {}
        self._of_place: dict[Place, list[Decided]] = {}

    def standing(self) -> list[Decided]:
        """Every decision that stands."""
        return list(self._standing.values())

    def naming(self, place: Place) -> list[Decided]:
        """The standing decisions on one transaction."""
        return [one for one in self._of_place.get(place, ()) if self._stands(one)]

    def meet(self, decided: Decided) -> list[Event]:
        """Let the candidate meet a decision; returns what it makes of it."""
        if decided.match is not None:
            self.overrule(decided.match)
        self._standing[decided.members] = decided
        for place in places_of(decided.members):
            self._of_place.setdefault(place, []).append(decided)
        return self._take(decided)

    def overrule(self, match: Matched) -> None:
        """Let no refusal stand that the history itself has gone against since."""
        # A refusal that it goes against names all its members.
        for one in self.naming((0, match.source_ids[0])):
            if one.kind in REFUSED and one.is_against(match):
                del self._standing[one.members]

    def forget(self, place: Place) -> None:
        """Let no decision stand that was about what is corrected now."""
        for one in self.naming(place):
            del self._standing[one.members]
        self._of_place.pop(place, None)

    def answer(self, events: Sequence[Event]) -> list[Event]:
        """Take the decisions that waited for a suggestion the candidate has made just now."""
        taken: list[Event] = []
        for event in events:
            if isinstance(event, MatchSuggested):
                for source_id in event.source_ids:
                    for one in self.naming((0, source_id)):
                        if one.kind in ("confirmed", "rejected") and not one.met:
                            taken += self._take(one)
        return taken

    def _stands(self, decided: Decided) -> bool:
        return self._standing.get(decided.members) is decided

    def _take(self, decided: Decided) -> list[Event]:
        for command in self._commands(decided):
            try:
                events = self._state.decide(command, decided.command_id).events
            except CannotBeDone:
                continue  # the candidate has not come to this, which is what is to be found out
            decided.met = True
            return events
        return []

    def _commands(self, decided: Decided) -> Iterator[MatchCommand]:
        """What would do it, as the candidate stands; the first that can be done."""
        state, book = self._state, self._state.book
        source_ids, target_ids = (list(ids) for ids in decided.members)
        known = book.known[0].get(source_ids[0])
        match decided.kind:
            case "by_hand":
                yield MatchByHand(source_ids, target_ids, decided.reason)
            case "confirmed" if isinstance(known, Leg):
                standing = sorted(
                    (one != decided.suggestion_id, book.suggestions[one].rule_index, one)
                    for one in known.suggestions
                )
                for _, _, suggestion_id in standing:
                    yield ConfirmMatch(suggestion_id, source_ids, target_ids, decided.reason)
            case "rejected":
                assert decided.suggestion_id is not None
                yield RejectMatch(decided.suggestion_id, decided.reason)
            case "reversed" if isinstance(known, Settled):
                identity = match_id(
                    state.tenant_id, state.reconciliation_id, known.rule,
                    source_ids, target_ids, known.newest_ms,
                )  # fmt: skip
                yield ReverseMatch(identity, source_ids, target_ids, decided.reason)
