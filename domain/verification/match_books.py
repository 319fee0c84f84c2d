"""The books of matches and suggestions: which stand, and what the table `matches` shows of them."""

from collections.abc import Sequence

from domain.events import (
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    match_id_of,
)
from domain.transactions import TARGET
from domain.verification.accounts import Accounts
from domain.verification.entries import Member, Suggestion, members_of
from domain.verification.totals import PENDING, SUGGESTED, MatchTally, Tally

Made = RecordMatched | MatchConfirmed


class MatchBooks:
    """What is confirmed, suggested, rejected, superseded and reversed of one stream.

    Attributes:
        ending: Suggestions that the batch in hand still has to end, for they lost a member.
    """

    def __init__(self, tenant_id: str, reconciliation_id: str, accounts: Accounts) -> None:
        self._scope = (tenant_id, reconciliation_id)
        self._accounts = accounts
        self._confirmed: dict[str, MatchTally] = {}
        # Of matches that were undone and have not been made again: currency and sums, by id.
        self._reversed: dict[str, tuple[str, int, int]] = {}
        self._suggestions: dict[str, Suggestion] = {}
        self._standing: dict[Member, set[str]] = {}
        self.ending: set[str] = set()

    def use(self, accounts: Accounts) -> None:
        """Go on with other accounts of the same transactions."""
        self._accounts = accounts

    def match_id(self, event: Made | MatchSuggested) -> str:
        """Name what an event makes."""
        return match_id_of(*self._scope, event)

    def lose(self, member: Member) -> None:
        """Note that a suggested transaction was taken, so that its suggestions have to end."""
        self.ending |= self._standing.get(member, set())

    def make(self, event: Made) -> None:
        """Book a match whose members have been taken."""
        confirmed = self._confirmed.get(event.currency)
        if confirmed is None:
            confirmed = self._confirmed[event.currency] = MatchTally()
        confirmed.add(event.source_minor, event.target_minor)
        if self._suggestions or self._reversed:
            identity = self.match_id(event)
            self._reversed.pop(identity, None)
            suggestion = self._suggestions.get(identity)
            if suggestion is not None:
                suggestion.status = None
                if isinstance(event, MatchConfirmed) and suggestion.stands:
                    self._end(identity, suggestion)

    def undo(self, event: MatchReversed) -> None:
        """Book a match out that was made."""
        confirmed = self._confirmed.get(event.currency)
        if confirmed is None or not confirmed.count or event.match_id in self._reversed:
            self._accounts.differs(f"match {event.match_id} is reversed, but does not stand")
        confirmed.count -= 1
        confirmed.source_minor -= event.source_minor
        confirmed.target_minor -= event.target_minor
        self._reversed[event.match_id] = (event.currency, event.source_minor, event.target_minor)

    def check_new(self, event: MatchSuggested) -> None:
        """Check that a suggestion does not stand already."""
        identity = self.match_id(event)
        earlier = self._suggestions.get(identity)
        if earlier is not None and earlier.stands:
            self._accounts.differs(f"suggestion {identity} was made twice")

    def suggest(self, event: MatchSuggested) -> None:
        """Book a suggestion whose members have been taken."""
        identity = self.match_id(event)
        self._reversed.pop(identity, None)
        for member in members_of(event.source_ids, event.target_ids):
            self._standing.setdefault(member, set()).add(identity)
        self._suggestions[identity] = Suggestion(
            event.currency,
            event.source_ids,
            event.target_ids,
            event.source_minor,
            event.target_minor,
        )

    def end(self, event: MatchSuperseded | MatchRejected) -> None:
        """Book the end of a suggestion that no match ends."""
        status = "superseded" if isinstance(event, MatchSuperseded) else "rejected"
        suggestion = self._suggestions.get(event.match_id)
        if suggestion is None or not suggestion.stands:
            self._accounts.differs(f"{event.match_id} is {status}, but no such suggestion stands")
        if (event.source_ids, event.target_ids) != (suggestion.source_ids, suggestion.target_ids):
            self._accounts.differs(f"suggestion {event.match_id} is {status} with other members")
        if suggestion.status is not None:
            suggestion.status = status
        self._end(event.match_id, suggestion)

    def _end(self, identity: str, suggestion: Suggestion) -> None:
        suggestion.stands = False
        self.ending.discard(identity)
        for member in members_of(suggestion.source_ids, suggestion.target_ids):
            others = self._standing[member]
            others.discard(identity)
            if not others:
                del self._standing[member]
                known = self._accounts.find(*member)
                if known.place == SUGGESTED:
                    known.place = PENDING

    def totals(self) -> dict[tuple[str, str], MatchTally]:
        """Count the rows of `matches`, by status and currency."""
        matches = {
            ("confirmed", currency): MatchTally(one.count, one.source_minor, one.target_minor)
            for currency, one in self._confirmed.items()
        }
        for one in self._suggestions.values():
            if one.status is not None:
                tally = matches.setdefault((one.status, one.currency), MatchTally())
                tally.add(one.source_minor, one.target_minor)
        for currency, source_minor, target_minor in self._reversed.values():
            tally = matches.setdefault(("reversed", currency), MatchTally())
            tally.add(source_minor, target_minor)
        return matches


def told_by(
    event: Made | MatchSuggested | MatchReversed, side: int, ids: Sequence[str]
) -> dict[str, Tally]:
    """Give by currency what a match tells of its members on one side."""
    if event.compared is not None and event.compared.totals:
        # Several currencies: the event's own sums are those of what was compared.
        return {
            currency: Tally(count, sum_minor)
            for of_side, currency, count, sum_minor in event.compared.totals
            if of_side == side
        }
    sum_minor = event.target_minor if side == TARGET else event.source_minor
    return {event.currency: Tally(len(ids), sum_minor)}
