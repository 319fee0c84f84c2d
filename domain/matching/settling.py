"""Deciding: a look at one leg takes whatever about it has become final.

A look follows the leg through the rules in order, asking of each what it would make of the legs
found together. What it would take is *tentative* until event time has passed the newest member
plus the rule's settle; the leg is then planned for another look at that instant. Nothing but its
own look decides for a leg: whoever loses a tentative partner to a later arrival has a look planned,
and whoever gains one is found by that look. So the cost of an arrival is its own neighbourhood.
"""

from typing import Any

from domain.events import (
    Event,
    ExceptionResolved,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
)
from domain.identity import match_id
from domain.matching.book import Book, Suggestion
from domain.matching.cases import LEFT_ALONE, TOO_MANY, Cases
from domain.matching.compiled import CompiledRule
from domain.matching.due import SECOND_US
from domain.matching.duplicates import set_duplicates_aside
from domain.matching.group_pool import CROWDED
from domain.matching.groups import left_of, select_groups
from domain.matching.legs import DUPLICATE, EXCEPTION, OPEN, Leg, by_id, by_time
from domain.matching.pools import Found
from domain.matching.selection import (
    EMPTY,
    Match,
    Selection,
    Verdict,
    Why,
    ids_of,
    select,
    stated,
)
from domain.matching.sight import Sight


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
        self.events: list[Event] = []
        self.watermark_us = watermark_us
        self._settles = settles and watermark_us is not None
        self.definition_version = definition_version
        self.cases = Cases(book, self.events, definition_version, watermark_us, self._selection)
        self._sight = Sight(book.pools)
        self._outcomes: dict[tuple[int, Any], Selection] = {}
        self._judged: dict[int, tuple[list[Match], dict[Leg, Verdict]]] = {}

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
            for legs in self.book.due.take(self.watermark_us):
                for leg in legs:
                    if leg.rule == OPEN and leg.disposition != DUPLICATE:
                        self.look(leg)
                self.look_again()

    def look_again(self) -> None:
        """Look at the legs whose surroundings the step has changed."""
        book = self.book
        while book.again or book.gone:
            self.forget_outcomes()
            legs = {*book.again, *book.beside_gone()}
            book.again.clear()
            book.gone.clear()
            for leg in sorted(legs, key=by_time):
                if leg.rule == OPEN and leg.disposition != DUPLICATE:
                    self.look(leg)

    def arrived(self, leg: Leg) -> None:
        """Look at a leg that was just put in, for the rules that do not wait."""
        self.forget_outcomes()
        self.look(leg)

    def forget_outcomes(self) -> None:
        """Ask again what rules would make of legs, for what is open has changed."""
        self._sight.forget()
        self._outcomes.clear()
        self._judged.clear()

    # -- following one leg through the rules --

    def look(self, leg: Leg) -> None:
        """Decide what can be decided about an open leg, and plan the next look."""
        ask_at: int | None = None
        left_ambiguous: tuple[CompiledRule, str] | None = None
        for rule in self.book.rules:
            found = self._sight.around(rule.index, leg)
            if found is None:
                continue
            if found.too_many:
                if rule.many_side is None:
                    left_ambiguous = left_ambiguous or (rule, TOO_MANY)
                continue
            if rule.unique and set_duplicates_aside(self, rule, leg, found):
                return
            selection = self._outcome(rule, found)
            match = selection.taken.get(leg)
            if match is not None:
                final_at = match.newest_at + rule.settle_us
                if rule.immediate or self.passed(final_at):
                    self.confirm(rule, match)
                else:
                    self.book.due.plan(leg, final_at)
                return
            group = selection.ambiguous.get(leg)
            if group is None:
                continue
            if rule.policy == "suggest":
                verdict = self._judge(rule, group).get(leg)
                if verdict is not None and verdict.suggestion_id is None:
                    ask_at = verdict.ask_at if ask_at is None else min(ask_at, verdict.ask_at)
            elif rule.many_side is None:
                left_ambiguous = left_ambiguous or (rule, LEFT_ALONE)
        self._leave_open(leg, ask_at, left_ambiguous)

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

    def _outcome(self, rule: CompiledRule, found: Found) -> Selection:
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

    def _selection(self, rule: CompiledRule, leg: Leg) -> Selection:
        """What a rule would make of the legs around one."""
        found = self._sight.around(rule.index, leg)
        if found is None:
            return EMPTY
        if found.too_many:
            why = Why("bound", TOO_MANY if rule.many_side is None else CROWDED)
            return Selection({}, {}, {leg: why})
        return self._outcome(rule, found)

    def left_over(self, leg: Leg, rules: int) -> bool:
        """Whether none of the first `rules` rules would take `leg`."""
        if leg.rule != OPEN:
            return True  # a rival: a later rule has it, so the earlier ones had left it
        return self._tentative(leg, 0, rules) is None

    def _tentative(self, leg: Leg, first: int, stop: int) -> tuple[CompiledRule, Match] | None:
        """The match that the rules numbered first…stop-1 would put `leg` in."""
        for rule in self.book.rules[first:stop]:
            match = self._selection(rule, leg).taken.get(leg)
            if match is not None:
                return rule, match
        return None

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
        members = (*sources, *targets)
        late = [leg for leg in members if leg.disposition == EXCEPTION]
        stale = self.cases.naming(members)
        standing = sorted({one for leg in members for one in leg.suggestions})
        for leg in members:
            self.book.take_out(leg, rule.index)
            self.stood_beside(leg, rule.index + 1)
        if late:
            identity = self._identity(rule, source_ids, target_ids, newest_ms)
            self.events += [
                ExceptionResolved(leg.side, leg.transaction_id, "late_match", identity)
                for leg in late
            ]
        for suggestion_id in standing:
            self.withdraw(suggestion_id, "a member matched")
        self.cases.reclassify(stale)

    def stood_beside(self, gone: Leg, first_rule: int) -> None:
        """Look again, before the step ends, at who was decided upon beside `gone`."""
        noted = self.book.gone
        for index in range(first_rule, len(self.book.pools)):
            place = self.book.pools[index].place(gone)
            if place is not None:
                noted[index, place] = gone

    # -- suggesting --

    def _judge(self, rule: CompiledRule, group: list[Match]) -> dict[Leg, Verdict]:
        """Make suggestions of an ambiguous set, without what is or would be matched otherwise."""
        judged = self._judged.get(id(group))
        if judged is not None:
            return judged[1]
        verdicts: dict[Leg, Verdict] = {}
        for candidates in self._remaining(rule, group):
            legs = {leg for match in candidates for leg in (*match.sources, *match.targets)}
            sources = tuple(sorted((leg for leg in legs if leg.side == 0), key=by_id))
            targets = tuple(sorted((leg for leg in legs if leg.side == 1), key=by_id))
            verdict = self._stand(rule, sources, targets)
            for leg in legs:
                verdicts[leg] = verdict
        self._judged[id(group)] = (group, verdicts)
        return verdicts

    def _remaining(self, rule: CompiledRule, group: list[Match]) -> list[list[Match]]:
        """The connected sets that are left of `group` without members that go elsewhere."""

        def stays(leg: Leg) -> bool:
            return leg.rule == OPEN and (
                self._tentative(leg, rule.index + 1, len(self.book.rules)) is None
            )

        staying = {leg for match in group for leg in (*match.sources, *match.targets) if stays(leg)}
        return left_of(rule, group, staying)

    def _stand(
        self, rule: CompiledRule, sources: tuple[Leg, ...], targets: tuple[Leg, ...]
    ) -> Verdict:
        """Put one connected set before a person, once it is final."""
        members = (*sources, *targets)
        final_at = max(leg.occurred_at for leg in members) + rule.settle_us
        if not (rule.immediate or self.passed(final_at)):
            return Verdict(None, final_at)
        self._judge_earlier(rule, members)
        shared = set.intersection(*(set(leg.suggestions) for leg in members))
        for suggestion_id in shared:
            if self.book.suggestions[suggestion_id].rule_index < rule.index:
                return Verdict(suggestion_id, 0)  # an earlier rule has asked about all of them
        source_ids, target_ids = ids_of(sources), ids_of(targets)
        newest_ms = max(leg.occurred_at for leg in members) // 1000
        identity = self._identity(rule, source_ids, target_ids, newest_ms)
        if identity in self.book.suggestions:
            return Verdict(identity, 0)
        for other in sorted({one for leg in members for one in leg.suggestions}):
            standing = self.book.suggestions[other]
            if standing.rule == rule.name:
                self.withdraw(other, "the set of candidates changed")
            elif standing.rule_index > rule.index and standing.lies_within(members):
                self.withdraw(other, "an earlier rule asks about all of them")
        currency, source_minor, target_minor, compared = stated(rule, sources, targets)
        self.events.append(
            MatchSuggested(
                rule.name,
                rule.rule.match_type,
                self.definition_version,
                source_ids,
                target_ids,
                currency,
                source_minor,
                target_minor,
                newest_ms,
                f"{len(sources)} source and {len(targets)} target transactions fit "
                "in more than one way",
                compared,
            )
        )
        late = [leg for leg in members if leg.disposition == EXCEPTION]
        self.book.suggest(identity, Suggestion(rule.name, rule.index, sources, targets))
        self.events += [
            ExceptionResolved(leg.side, leg.transaction_id, "late_match", identity) for leg in late
        ]
        return Verdict(identity, 0)

    def _judge_earlier(self, rule: CompiledRule, members: tuple[Leg, ...]) -> None:
        """Let earlier rules ask first about members that are ambiguous to them."""
        for earlier in self.book.rules[: rule.index]:
            if earlier.policy != "suggest" or earlier.unique:
                continue
            for leg in members:
                group = self._selection(earlier, leg).ambiguous.get(leg)
                if group is not None:
                    self._judge(earlier, group)

    def _identity(
        self, rule: CompiledRule, source_ids: list[str], target_ids: list[str], newest_ms: int
    ) -> str:
        one = self.book.definition
        return match_id(
            one.tenant_id, one.reconciliation_id, rule.name, source_ids, target_ids, newest_ms
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
