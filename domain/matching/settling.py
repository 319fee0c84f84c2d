"""Deciding: a look at one leg takes whatever about it has become final.

A look follows the leg through the rules in order, asking of each what it would make of the legs
found together. What it would take is *tentative* until event time has passed the newest member
plus the rule's settle; the leg is then planned for another look at that instant. Nothing but its
own look decides for a leg: whoever loses a tentative partner to a later arrival has a look planned,
and whoever gains one is found by that look. So the cost of an arrival is its own neighbourhood.
"""

from collections.abc import Sequence
from typing import Any

from domain.events import (
    Compared,
    ExceptionResolved,
    MatchSuperseded,
    RecordMatched,
)
from domain.identity import match_id
from domain.matched_pairs import Told
from domain.matching.book import Book
from domain.matching.cases import LEFT_ALONE, Cases
from domain.matching.compiled import CompiledRule
from domain.matching.due import SECOND_US
from domain.matching.duplicates import set_duplicates_aside
from domain.matching.legs import DUPLICATE, EXCEPTION, OPEN, PERSON, Leg, by_time
from domain.matching.lone_pairs import LonePairs
from domain.matching.outcomes import TOO_MANY, Outcomes
from domain.matching.selection import (
    Match,
    Selection,
    Verdict,
    ids_of,
    stated,
)
from domain.matching.suggesting import judge, review


class Settling:
    """One step's decisions over a book; its events gather in `events`.

    Args:
        watermark_us: Event time, microseconds; None while it is not known yet, when only immediate
            rules decide.
        settles: Whether event time may decide anything in this step; while input is behind it may
            not, however far it has come.
    """

    def __init__(
        self, book: Book, definition_version: int, watermark_us: int | None, settles: bool
    ) -> None:
        self.book = book
        self.events: list[Told] = []
        self.watermark_us = watermark_us
        self._settles = settles and watermark_us is not None
        self.definition_version = definition_version
        self.outcomes = Outcomes(book)
        self.cases = Cases(book, self.events, definition_version, watermark_us, self.outcomes)
        self.judged: dict[int, tuple[list[Match], dict[Leg, Verdict]]] = {}
        self.checked: set[tuple[int, Any]] = set()

    def passed(self, instant_us: int) -> bool:
        """Whether event time has passed an instant (in whole seconds, as `DueQueue` counts)."""
        if not self._settles:
            return False
        assert self.watermark_us is not None
        return instant_us // SECOND_US < self.watermark_us // SECOND_US

    def run(self) -> None:
        """Look at everything event time has made due, and at what that changes."""
        self.look_again()
        if self._settles:
            assert self.watermark_us is not None
            short = LonePairs.of(self, self.watermark_us)
            for legs in self.book.due.take(self.watermark_us):
                for leg in legs if short is None else short.take(legs):
                    if leg.rule == OPEN and leg.disposition != DUPLICATE:
                        self.look(leg)
                self.look_again()
            if short is not None:
                short.close()
                self.look_again()

    def look_again(self) -> None:
        """Look at the legs whose surroundings the step has changed."""
        book = self.book
        while book.again or book.gone:
            self.forget_outcomes()
            for leg in sorted(book.take_again(), key=by_time):
                if leg.rule == OPEN and leg.disposition != DUPLICATE:
                    self.look(leg)

    def arrived(self, leg: Leg) -> None:
        """Look at a leg that was just put in, for the rules that do not wait."""
        self.forget_outcomes()
        self.look(leg)

    def forget_outcomes(self) -> None:
        """Ask again what rules would make of legs, for what is open has changed."""
        self.outcomes.forget()
        self.judged.clear()
        self.checked.clear()

    # -- following one leg through the rules --

    def look(self, leg: Leg) -> None:
        """Decide what can be decided about an open leg, and plan the next look."""
        ask_at: int | None = None
        left_ambiguous: tuple[CompiledRule, str] | None = None
        for rule in self.book.rules:
            found = self.outcomes.around(rule, leg)
            if found is None:
                continue
            if found.too_many:
                if rule.many_side is None:
                    left_ambiguous = left_ambiguous or (rule, TOO_MANY)
                continue
            if rule.unique:
                if set_duplicates_aside(self, rule, leg, found):
                    return
                # Others may have been.
                found = self.outcomes.around(rule, leg) or found
            selection = self.outcomes.outcome(rule, found)
            if rule.asks and self.book.suggestions:
                review(self, rule, found, selection)
            match = selection.taken.get(leg)
            if match is not None and not rule.suggests:
                final_at = match.newest_at + rule.settle_us
                if rule.immediate or self.passed(final_at):
                    self.confirm(rule, match)
                else:
                    self.book.due.plan(leg, final_at)
                return
            if match is not None or (rule.policy == "suggest" and leg in selection.ambiguous):
                at = self._ask(rule, leg, selection)
                ask_at = at if ask_at is None or (at is not None and at < ask_at) else ask_at
            elif leg in selection.ambiguous and rule.many_side is None:
                left_ambiguous = left_ambiguous or (rule, LEFT_ALONE)
        self._leave_open(leg, ask_at, left_ambiguous)

    def _ask(self, rule: CompiledRule, leg: Leg, selection: Selection) -> int | None:
        """Put what a rule asks about a leg before a person, or say when to try again."""
        match = selection.taken.get(leg)
        if match is not None:
            verdict = judge(self, rule, [match], (match,)).get(leg)
        else:
            verdict = judge(self, rule, selection.ambiguous[leg], selection.lone).get(leg)
        return None if verdict is None or verdict.suggestion_id is not None else verdict.ask_at

    def _leave_open(
        self, leg: Leg, ask_at: int | None, left_ambiguous: tuple[CompiledRule, str] | None
    ) -> None:
        if leg.suggestions or leg.disposition == EXCEPTION:
            if ask_at is not None:
                self.book.due.plan(leg, ask_at)
            return
        wait_until = leg.occurred_at + self.book.definition.window.wait_us
        if ask_at is not None:
            self.book.due.plan(leg, ask_at)
        elif self.passed(wait_until):
            self.cases.open(leg, left_ambiguous)
        else:
            ages = (age for age in self.book.looks if not self.passed(leg.occurred_at + age))
            self.book.due.plan(leg, leg.occurred_at + next(ages))

    # -- taking --

    def confirm(self, rule: CompiledRule, match: Match) -> None:
        """Record a match as final and close its members."""
        sources, targets = match.sources, match.targets
        source_ids, target_ids = ids_of(sources), ids_of(targets)
        newest_ms = match.newest_at // 1000
        currency, source_minor, target_minor, compared = stated(rule, sources, targets)
        self.events.append(
            RecordMatched(
                rule.name,
                rule.rule.match_type,
                self.definition_version,
                source_ids,
                target_ids,
                currency,
                source_minor,
                target_minor,
                newest_ms,
                compared,
            )
        )
        self.close(match, rule.name, rule.index, newest_ms, compared, "late_match")

    def close(
        self,
        match: Match,
        rule: str,
        by_rule: int,
        newest_ms: int,
        compared: Compared | None,
        resolution: str,
    ) -> None:
        """Close the members of a match just recorded, and all that spoke of them as open.

        Args:
            rule: The match's rule, by name.
            by_rule: Its number, or PERSON; see `Book.take_out`.
            newest_ms: The match's, for its identity.
            compared: What its event says was compared.
            resolution: How the members' exceptions end.
        """
        sources, targets = match
        members = (*sources, *targets)
        late = [leg for leg in members if leg.disposition == EXCEPTION]
        stale = self.cases.naming(members)
        standing = sorted({one for leg in members for one in leg.suggestions})
        self.book.take_out(sources, targets, rule, by_rule, newest_ms, compared)
        for leg in members:
            self.book.stood_beside(leg, 0 if by_rule == PERSON else by_rule + 1)
        identity = ""
        if late or standing:
            identity = self.identity(rule, ids_of(sources), ids_of(targets), newest_ms)
        self.events += [
            ExceptionResolved(leg.side, leg.transaction_id, resolution, identity) for leg in late
        ]
        for suggestion_id in standing:
            if by_rule == PERSON and suggestion_id == identity:
                self.book.withdraw(suggestion_id)  # the confirmation itself ends it
            else:
                self.withdraw(suggestion_id, "a member matched")
        self.cases.reclassify(stale)

    def identity(
        self, rule: str, source_ids: Sequence[str], target_ids: Sequence[str], newest_ms: int
    ) -> str:
        """Name a match of this reconciliation; ids in order."""
        one = self.book.definition
        return match_id(
            one.tenant_id, one.reconciliation_id, rule, source_ids, target_ids, newest_ms
        )

    def withdraw(self, suggestion_id: str, reason: str) -> None:
        """Let a suggestion stand no longer."""
        suggestion = self.book.withdraw(suggestion_id)
        self.events.append(
            MatchSuperseded(
                suggestion_id,
                suggestion.rule,
                ids_of(suggestion.sources),
                ids_of(suggestion.targets),
                reason,
            )
        )
