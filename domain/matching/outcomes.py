"""What the rules would make of open legs as things stand, worked out once a step."""

from typing import Any, Final

from domain.matching.book import Book
from domain.matching.compiled import CompiledRule
from domain.matching.group_pool import CROWDED
from domain.matching.groups import select_groups
from domain.matching.legs import OPEN, Leg
from domain.matching.pair_pool import PAIRS_MAX
from domain.matching.pools import Found
from domain.matching.selection import EMPTY, Match, Selection, Why, select
from domain.matching.sight import Sight

#: Why a rule left a transaction alone that many others hang together with.
TOO_MANY: Final = (
    f"more than {PAIRS_MAX:,} pairs of transactions that hang together fit, so not all were tried; "
    "add a condition that tells them apart"
)


class Outcomes:
    """Asks the rules about legs, and remembers what they answered.

    Holds on to nobody who asks: what a step has made is to go with the step, and would wait for a
    search for cycles if the two knew each other.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._sight = Sight(book.pools)
        self._outcomes: dict[tuple[int, Any], Selection] = {}

    def forget(self) -> None:
        """Ask again from here on, for what is open has changed."""
        self._sight.forget()
        self._outcomes.clear()

    def around(self, rule: CompiledRule, leg: Leg) -> Found | None:
        """The legs that `leg` may be a candidate with under a rule."""
        return self._sight.around(rule.index, leg)

    def outcome(self, rule: CompiledRule, found: Found) -> Selection:
        """What `rule` would make of the legs found together, less what earlier rules would take.

        Taking a match changes no other outcome, so one is good for the whole step.
        """
        name, sources, targets, partners, _ = found
        outcome = self._outcomes.get((rule.index, name))
        if outcome is None:
            if not sources or not targets:
                return EMPTY
            if rule.index:
                sources = [leg for leg in sources if self.left_over(leg, rule.index)]
                targets = [leg for leg in targets if self.left_over(leg, rule.index)]
            outcome = self._outcomes[(rule.index, name)] = (
                select(rule, sources, targets, partners)
                if rule.many_side is None
                else select_groups(rule, sources, targets)
            )
        return outcome

    def selection(self, rule: CompiledRule, leg: Leg) -> Selection:
        """What a rule would make of the legs around one."""
        found = self.around(rule, leg)
        if found is None:
            return EMPTY
        if found.too_many:
            why = Why("bound", TOO_MANY if rule.many_side is None else CROWDED)
            return Selection({}, {}, {leg: why})
        return self.outcome(rule, found)

    def left_over(self, leg: Leg, rules: int) -> bool:
        """Whether none of the first `rules` rules would take `leg`."""
        if leg.rule != OPEN:
            return True  # a rival: a later rule has it, so the earlier ones had left it
        return self.tentative(leg, 0, rules) is None

    def tentative(self, leg: Leg, first: int, stop: int) -> tuple[CompiledRule, Match] | None:
        """The match that the rules numbered first…stop-1 would put `leg` in."""
        for rule in self._book.rules[first:stop]:
            match = None if rule.suggests else self.selection(rule, leg).taken.get(leg)
            if match is not None:
                return rule, match
        return None
