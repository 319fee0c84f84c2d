"""Exceptions: opening them, and keeping what they say true while they are open."""

from typing import Final

from domain.events import ExceptionReclassified, RecordUnmatched
from domain.matched_pairs import Told
from domain.matching.book import Book
from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg
from domain.matching.near_misses import Classification, classify, severity
from domain.matching.outcomes import Outcomes
from domain.matching.selection import Why

# Open exceptions around one value that are classified anew when one of them changes; beyond it the
# value is shared by so many that a change says nothing new about the others.
_RECLASSIFIED_MAX = 16
#: Why a rule left a transaction alone among several candidates.
LEFT_ALONE: Final = "more than one candidate fits, and the rule leaves such sets alone"
#: Event time once everything has run out.
END_OF_TIME_US = 1 << 62


class Cases:
    """The exceptions of one step, over a book.

    Args:
        events: Where what is decided is told.
        watermark_us: Event time, microseconds; None while it is not known yet.
        outcomes: What the rules would make of legs.
    """

    def __init__(
        self,
        book: Book,
        events: list[Told],
        definition_version: int,
        watermark_us: int | None,
        outcomes: Outcomes,
    ) -> None:
        self.book = book
        self.events = events
        self.definition_version = definition_version
        self.watermark_us = watermark_us
        self._outcomes = outcomes

    def unmatched(self, leg: Leg, what: Classification) -> RecordUnmatched:
        """Word the opening of an exception."""
        age = 0
        if self.watermark_us is not None:
            # Where time runs out all at once, each exception opens as its own wait ends.
            ended = self.watermark_us == END_OF_TIME_US
            window = self.book.definition.window
            age = window.wait_us if ended else self.watermark_us - leg.occurred_at
        return RecordUnmatched(
            leg.side,
            leg.transaction_id,
            what.category,
            severity(self.book.definition.severity, leg.amount_minor, leg.currency, age),
            leg.amount_minor,
            leg.currency,
            leg.occurred_at // 1000,
            what.rule,
            what.reason,
            what.candidates,
            self.definition_version,
        )

    def open(self, leg: Leg, left_ambiguous: tuple[CompiledRule, str] | None) -> None:
        """Open an exception for a leg whose wait has ended.

        Args:
            left_ambiguous: The rule that left it alone among several candidates, if one did, and
                why it did.
        """
        what = self._classify(leg)
        if left_ambiguous is not None and what.category != "ambiguous":
            rule, reason = left_ambiguous
            what = Classification("ambiguous", rule.name, reason, what.candidates)
        self.events.append(self.unmatched(leg, what))
        self.book.open_exception(leg, what.category, what.candidate_ids)
        self.reclassify(self.beside(leg))

    def _classify(self, leg: Leg) -> Classification:
        """Say why a leg has no match, also where a rule looked for a group with it in vain."""
        what = classify(self.book, leg)
        found = self._why(leg)
        if found is None:
            return what
        rule, why = found
        if why.kind == "several":
            return Classification("ambiguous", rule.name, why.text, what.candidates)
        if why.kind == "bound" or what.rule == rule.name:
            return Classification(what.category, rule.name, why.text, what.candidates)
        return what

    def _why(self, leg: Leg) -> tuple[CompiledRule, Why] | None:
        """Why no rule that tries several took an open leg: what says most, else the first."""
        said: dict[str, tuple[CompiledRule, Why]] = {}
        for rule in self.book.rules:
            tries_several = rule.many_side is not None or rule.policy == "prefer"
            why = self._outcomes.selection(rule, leg).reasons.get(leg) if tries_several else None
            if why is not None:
                said.setdefault(why.kind, (rule, why))
        return said.get("several") or said.get("bound") or said.get("none")

    def beside(self, leg: Leg) -> list[Leg]:
        """Open exceptions of the other side that share a key with `leg`."""
        beside: dict[Leg, None] = {}
        for pool in self.book.pools:
            fellows = pool.fellows(leg)
            if len(fellows) <= _RECLASSIFIED_MAX:
                for one in fellows:
                    if one in self.book.exceptions:
                        beside[one] = None
        return list(beside)

    def may_name(self, leg: Leg) -> bool:
        """Whether `naming` may find that an open exception names a leg alone under the first rule.

        Asked of many, and mostly in vain: what the exceptions name is not looked at here.
        """
        exceptions = self.book.exceptions.keys()
        for pool in self.book.pools[1:]:
            fellows = pool.fellows(leg)
            few = 0 < len(fellows) <= _RECLASSIFIED_MAX
            if few and not exceptions.isdisjoint(fellows):
                return True
        return False

    def naming(self, legs: tuple[Leg, ...]) -> list[Leg]:
        """Open exceptions, outside `legs`, that name one of them as a candidate."""
        if not self.book.exceptions:
            return []
        return [
            one
            for leg in legs
            for one in self.beside(leg)
            if one not in legs and leg.transaction_id in self.book.exceptions[one][1]
        ]

    def reclassify(self, legs: list[Leg]) -> None:
        """Say anew what is known about open exceptions, where that changed."""
        for leg in legs:
            noted = self.book.exceptions[leg]
            what = self._classify(leg)
            if noted != (what.category, what.candidate_ids):
                self.book.exceptions[leg] = (what.category, what.candidate_ids)
                self.events.append(
                    ExceptionReclassified(
                        leg.side,
                        leg.transaction_id,
                        what.category,
                        what.rule,
                        what.reason,
                        what.candidates,
                    )
                )
