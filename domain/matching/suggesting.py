"""Suggestions: what a rule puts before a person, and when it does not stand any longer."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from domain.events import ExceptionResolved, MatchSuggested
from domain.matching.block_groups import Block
from domain.matching.compiled import CompiledRule
from domain.matching.groups import left_of
from domain.matching.legs import EXCEPTION, OPEN, Leg, Suggestion
from domain.matching.pools import Found
from domain.matching.selection import Match, Selection, Verdict, ids_of, stated

if TYPE_CHECKING:
    from domain.matching.settling import Settling


def judge(
    settling: "Settling", rule: CompiledRule, group: list[Match], lone: Collection[Match]
) -> dict[Leg, Verdict]:
    """Make suggestions of connected candidates, without what is or would be matched otherwise.

    Args:
        lone: Which of the ambiguous candidates are one possible match each; what the rule would
            take is one anyway.
    """
    judged = settling.judged.get(id(group))
    if judged is not None:
        return judged[1]
    verdicts: dict[Leg, Verdict] = {}
    for (sources, targets), single in _remaining(settling, rule, group, lone):
        verdict = _stand(settling, rule, sources, targets, single)
        if verdict is not None:
            verdicts.update(dict.fromkeys((*sources, *targets), verdict))
    settling.judged[id(group)] = (group, verdicts)
    return verdicts


def _remaining(
    settling: "Settling", rule: CompiledRule, group: list[Match], lone: Collection[Match]
) -> list[Block]:
    """The connected sets that are left of `group` without members that go elsewhere."""

    def stays(leg: Leg) -> bool:
        return leg.rule == OPEN and (
            settling.outcomes.tentative(leg, rule.index + 1, len(settling.book.rules)) is None
        )

    staying = {leg for match in group for leg in (*match.sources, *match.targets) if stays(leg)}
    return left_of(rule, group, staying, lone)


def _judge_earlier(settling: "Settling", rule: CompiledRule, members: tuple[Leg, ...]) -> None:
    """Let earlier rules ask first about members that they would ask about."""
    for earlier in settling.book.rules[: rule.index]:
        if not earlier.asks:
            continue
        for leg in members:
            selection = settling.outcomes.selection(earlier, leg)
            match = selection.taken.get(leg) if earlier.suggests else None
            if match is not None:
                judge(settling, earlier, [match], (match,))
            elif earlier.policy == "suggest" and leg in selection.ambiguous:
                judge(settling, earlier, selection.ambiguous[leg], selection.lone)


def _stand(
    settling: "Settling",
    rule: CompiledRule,
    sources: tuple[Leg, ...],
    targets: tuple[Leg, ...],
    single: bool,
) -> Verdict | None:
    """Put one connected set, or a `single` possible match, before a person once it is final.

    Returns:
        None for what a person has rejected: the rule asks about it no more.
    """
    members = (*sources, *targets)
    final_at = max(leg.occurred_at for leg in members) + rule.settle_us
    if not (rule.immediate or settling.passed(final_at)):
        return Verdict(None, final_at)
    _judge_earlier(settling, rule, members)
    shared = set.intersection(*(set(leg.suggestions) for leg in members))
    for suggestion_id in shared:
        if settling.book.suggestions[suggestion_id].rule_index < rule.index:
            return Verdict(suggestion_id, 0)  # an earlier rule has asked about all of them
    source_ids, target_ids = ids_of(sources), ids_of(targets)
    newest_ms = max(leg.occurred_at for leg in members) // 1000
    identity = settling.identity(rule.name, source_ids, target_ids, newest_ms)
    if identity in settling.book.suggestions:
        return Verdict(identity, 0)
    rejected = rule.has_been_rejected(*members)
    for other in sorted({one for leg in members for one in leg.suggestions}):
        standing = settling.book.suggestions[other]
        if standing.rule == rule.name:
            settling.withdraw(other, "the set of candidates changed")
        elif standing.rule_index > rule.index and standing.lies_within(members) and not rejected:
            settling.withdraw(other, "an earlier rule asks about all of them")
    if rejected:
        return None
    currency, source_minor, target_minor, compared = stated(rule, sources, targets)
    settling.events.append(
        MatchSuggested(
            rule.name,
            rule.rule.match_type,
            settling.definition_version,
            source_ids,
            target_ids,
            currency,
            source_minor,
            target_minor,
            newest_ms,
            "the rule leaves its matches to a person"
            if single and rule.suggests
            else f"{len(sources)} source and {len(targets)} target transactions fit "
            "in more than one way",
            [leg.amount_minor for leg in sources],
            [leg.amount_minor for leg in targets],
            single,
            compared,
        )
    )
    late = [leg for leg in members if leg.disposition == EXCEPTION]
    settling.book.suggest(identity, Suggestion(rule.name, rule.index, sources, targets, single))
    settling.events += [
        ExceptionResolved(leg.side, leg.transaction_id, "late_match", identity) for leg in late
    ]
    return Verdict(identity, 0)


def review(settling: "Settling", rule: CompiledRule, found: Found, selection: Selection) -> None:
    """Bring what the rule asks about the legs found together in line with what it would ask now.

    A group that grew may fit no longer, a match have a rival that the rule leaves alone, and where
    sources take targets in order one arrival can move many: whom that leaves with another partner
    than an earlier rule has asked about is asked about, too.
    """
    name, sources, targets, *_ = found
    if (rule.index, name) in settling.checked:
        return
    settling.checked.add((rule.index, name))
    stale: set[str] = set()
    moved: dict[Match, None] = {}
    for leg in (*sources, *targets):
        if not leg.suggestions or (rule.policy == "suggest" and leg in selection.ambiguous):
            continue
        match = selection.taken.get(leg)
        mine = _asked_by(settling, rule, leg)
        if match is not None or settling.outcomes.left_over(leg, rule.index):
            stale.update(one for one, members in mine.items() if members != match)
        if match is not None and rule.suggests and not mine:
            moved[match] = None
    for suggestion_id in sorted(stale):
        settling.withdraw(suggestion_id, "the set of candidates changed")
    for match in moved:
        for leg, verdict in judge(settling, rule, [match], (match,)).items():
            if verdict.suggestion_id is None and not leg.due:
                settling.book.due.plan(leg, verdict.ask_at)


def _asked_by(settling: "Settling", rule: CompiledRule, leg: Leg) -> dict[str, Match]:
    """The suggestions of a rule that a leg stands in, by id, with their members."""
    standing = ((one, settling.book.suggestions[one]) for one in leg.suggestions)
    return {
        suggestion_id: Match(one.sources, one.targets)
        for suggestion_id, one in standing
        if one.rule == rule.name
    }
