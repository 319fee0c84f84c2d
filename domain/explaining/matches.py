"""Why a match or suggestion is one: its rule, its members weighed again, and who decided."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from domain.commands import MANUAL
from domain.events import (
    Event,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    difference_of,
)
from domain.explaining.confidence import confidence_of
from domain.explaining.evidence import PAIRS_MAX, Scene
from domain.explaining.groups import alternatives_sentence, group_sentence, place_of_rule
from domain.explaining.members import Contents, not_found, places_of, show_member
from domain.explaining.shown import DecisionShown, Evidence, MatchExplanation, PossibleMatch
from domain.explaining.wording import counted, listed, whom
from domain.matching.compiled import CompiledRule
from domain.money import CURRENCY_DIGITS, amount_text, format_minor
from domain.transactions import SIDE_NAMES, Transaction

#: Possible matches of a suggestion that are told one by one.
POSSIBLE_MAX: Final = 20
#: Members that are told one by one.
MEMBERS_MAX: Final = 1_000

Made = RecordMatched | MatchSuggested | MatchConfirmed
Ended = MatchReversed | MatchRejected | MatchSuperseded


class Told(NamedTuple):
    """An event with its place in the log and the RFC 3339 time it was stored.

    `user_id` is whose command led to it, where one did.
    """

    event: Event
    position: int
    at: str
    user_id: str | None = None


class MatchTold(NamedTuple):
    """A match as the log tells it.

    Attributes:
        event: What made it.
        ended: What undid it, if anything did.
        suggestion: Of a confirmed part of a suggestion, what had been suggested.
    """

    match_id: str
    event: Made
    made: Told
    ended: Told | None = None
    suggestion: MatchSuggested | None = None


def explain_match(told: MatchTold, scene: Scene | None, contents: Contents) -> MatchExplanation:
    """Explain a match or suggestion.

    Args:
        scene: The definition of the event's version; None where it cannot be read.
        contents: Of the members, as of the event; those not found may be left out.
    """
    event = told.event
    places = places_of(event.source_ids, event.target_ids)
    rule = scene.rule(event.rule) if scene is not None else None
    missing = not_found(places, contents)
    evidence: Evidence | None = None
    possible: list[PossibleMatch] = []
    if rule is None and event.rule != MANUAL:
        missing.append(f"Version {event.definition_version} of the definition cannot be read yet.")
    elif scene is not None and rule is not None and not missing:
        sources = [contents[0, one] for one in event.source_ids]
        targets = [contents[1, one] for one in event.target_ids]
        if _is_one_match(event):
            evidence = scene.weigh(rule, sources, targets)
            if evidence is None:
                missing.append(f"More than {PAIRS_MAX:,} pairs of members are not compared again.")
        else:
            possible = list(_possible(scene, rule, sources, targets))
    if len(places) > MEMBERS_MAX:
        missing.append(f"Only the first {MEMBERS_MAX:,} of {len(places):,} members are listed.")
    digits = CURRENCY_DIGITS[event.currency]
    compared = event.currency if event.compared is None else event.compared.currency
    confidence, because = confidence_of(event)
    alternatives, alternatives_because = _alternatives(told, rule)
    explanation = MatchExplanation(
        match_id=told.match_id,
        status=_status(told),
        rule=event.rule,
        match_type=event.match_type,
        definition_version=event.definition_version,
        members=[show_member(place, contents, scene, rule) for place in places[:MEMBERS_MAX]],
        source_amount=format_minor(event.source_minor, digits),
        target_amount=format_minor(event.target_minor, digits),
        difference=amount_text(difference_of(event), compared),
        currency=event.currency,
        evidence=evidence,
        possible=possible,
        group=group_sentence(rule, event),
        confidence=confidence,
        confidence_because=because,
        decided=_decision(told),
        ended=None if told.ended is None else ending(told.ended),
        alternatives=alternatives,
        alternatives_because=alternatives_because,
        missing=missing,
        sentences=[],
    )
    explanation.sentences.extend(_sentences(told, explanation, scene, rule))
    return explanation


def _is_one_match(event: Made) -> bool:
    """Whether the members together are one match, not a set that holds several."""
    if not isinstance(event, MatchSuggested):
        return True
    return event.single or len(event.source_ids) == len(event.target_ids) == 1


def _possible(
    scene: Scene, rule: CompiledRule, sources: list[Transaction], targets: list[Transaction]
) -> Iterator[PossibleMatch]:
    """The pairs of a suggestion that fit, the first of them; none of groups, which are many."""
    if rule.many_side is not None or len(sources) * len(targets) > PAIRS_MAX:
        return
    legs = [(one, scene.leg(one)) for one in targets]
    found = 0
    for source in sources:
        leg = scene.leg(source)
        for target, other in legs:
            if rule.admits(leg, other):
                evidence = scene.weigh_pair(rule, source, target)
                yield PossibleMatch(source.transaction_id, target.transaction_id, evidence)
                found += 1
                if found == POSSIBLE_MAX:
                    return


def _status(told: MatchTold) -> str:
    match told.ended and told.ended.event:
        case MatchReversed():
            return "reversed"
        case MatchRejected():
            return "rejected"
        case MatchSuperseded():
            return "superseded"
    return "suggested" if isinstance(told.event, MatchSuggested) else "confirmed"


def _decision(told: MatchTold) -> DecisionShown:
    event, (_, position, at, user_id) = told.event, told.made
    command_id = reason = None
    if isinstance(event, RecordMatched):
        said = f"Rule {event.rule} matched them"
    elif isinstance(event, MatchSuggested):
        reason = event.reason
        said = f"Rule {event.rule} put them before a person: {reason}"
    else:
        command_id, reason = event.command_id, event.reason
        said = f"A person {_what_a_person_did(told)} {whom(command_id, user_id)}"
        said += f", saying: {reason}" if reason else ""
    return DecisionShown(
        by="person" if isinstance(event, MatchConfirmed) else "rule",
        event_type=type(event).__name__,
        position=position,
        at=at,
        command_id=command_id,
        user_id=None if command_id is None else user_id,
        reason=reason,
        sentence=f"{said.removesuffix('.')}.",
    )


def _what_a_person_did(told: MatchTold) -> str:
    event = told.event
    assert isinstance(event, MatchConfirmed)
    if event.suggestion_id is None:
        return "matched them by hand"
    if event.suggestion_id == told.match_id:
        return f"confirmed the suggestion of rule {event.rule}"
    return f"confirmed them out of the suggestion {event.suggestion_id} of rule {event.rule}"


def ending(told: Told) -> DecisionShown:
    """How a match or suggestion ended."""
    event = told.event
    assert isinstance(event, Ended)
    command_id = None if isinstance(event, MatchSuperseded) else event.command_id
    reason = f": {event.reason}" if event.reason else ""
    match event:
        case MatchSuperseded():
            said = f"The suggestion stands no longer{reason}"
        case MatchRejected():
            said = f"A person rejected the suggestion {whom(command_id, told.user_id)}{reason}"
        case MatchReversed() if command_id is None:
            said = f"The match was undone by a correction{reason}"
        case MatchReversed():
            said = f"A person reversed the match {whom(command_id, told.user_id)}{reason}"
    by = "person" if command_id is not None else "engine"
    if isinstance(event, MatchReversed) and command_id is None:
        by = "correction"
    return DecisionShown(
        by=by,  # type: ignore[arg-type]
        event_type=type(event).__name__,
        position=told.position,
        at=told.at,
        command_id=command_id,
        user_id=None if command_id is None else told.user_id,
        reason=event.reason,
        sentence=f"{said.removesuffix('.')}.",
    )


def _alternatives(told: MatchTold, rule: CompiledRule | None) -> tuple[list[str], str]:
    event = told.event
    if isinstance(event, MatchSuggested):
        return [], "Nothing was chosen yet."
    if isinstance(event, RecordMatched):
        return [], alternatives_sentence(rule)
    if event.suggestion_id is None:
        return [], "A person chose the members; no rule was asked."
    if event.suggestion_id == told.match_id:
        return [], "A person confirmed the suggestion as a whole."
    if told.suggestion is None:
        return [], f"What else suggestion {event.suggestion_id} held is not at hand."
    chosen = {*event.source_ids, *event.target_ids}
    suggested = (*told.suggestion.source_ids, *told.suggestion.target_ids)
    left_out = [one for one in suggested if one not in chosen]
    return left_out, f"Of the suggestion the person left out {listed(left_out)}."


def _sentences(
    told: MatchTold, shown: MatchExplanation, scene: Scene | None, rule: CompiledRule | None
) -> Iterator[str]:
    event = told.event
    counts = [
        counted(len(ids), name)
        for ids, name in zip((event.source_ids, event.target_ids), SIDE_NAMES, strict=True)
    ]
    compared = "" if event.compared is None else "as compared "
    yield (
        f"{' and '.join(counts)}, {shown.source_amount} against {shown.target_amount} "
        f"{shown.currency}, {compared}difference {shown.difference}: {shown.status}."
    )
    yield shown.decided.sentence
    if scene is not None and rule is not None:
        yield place_of_rule(scene, rule, shown.definition_version)
    if shown.group is not None:
        yield shown.group
    if shown.evidence is not None:
        yield from shown.evidence.sentences()
        if not shown.evidence.holds:
            yield "Weighed again, the rule would not match these members."
    for pair in shown.possible:
        yield f"Possible: {pair.source_id} with {pair.target_id}. {pair.evidence.amount.sentence}"
    if len(shown.possible) == POSSIBLE_MAX:
        yield f"Only the first {POSSIBLE_MAX} possible pairs are told."
    yield f"Confidence {shown.confidence_because}"
    yield shown.alternatives_because
    if shown.ended is not None:
        yield shown.ended.sentence
    yield from shown.missing
