"""Why a transaction has no match: category, severity, near misses, and what was not tried."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from domain.casework import BY_PERSON, DISMISSED
from domain.events import (
    Candidate,
    ExceptionReclassified,
    RecordUnmatched,
)
from domain.explaining.casework import CaseStory
from domain.explaining.evidence import Scene
from domain.explaining.matches import Told
from domain.explaining.members import Contents, not_found
from domain.explaining.shown import CandidateExplanation, Evidence, ExceptionExplanation
from domain.explaining.wording import duration_text
from domain.matching.near_misses import CANDIDATES_MAX, FELLOWS_MAX, severity
from domain.money import amount_text
from domain.transactions import SIDE_NAMES

#: What every reason says where a bound, not the rules, ended the search.
BOUND_WORDS: Final = ("hit its bound", "the bound was hit", "too many to compare", "not all were")

_CATEGORIES = {
    "missing_in_target": "there is no counterpart on the target side",
    "missing_in_source": "there is no counterpart on the source side",
    "amount_mismatch": "what is near does not agree in amount",
    "currency_mismatch": "what is near is in another currency",
    "date_mismatch": "what is near lies outside the date window",
    "duplicate": "it brings again what may occur once per side",
    "ambiguous": "more than one counterpart fits, or not all could be tried",
}
_RESOLUTIONS = {
    "late_match": "a counterpart came late and the rules took it",
    "manual_match": "a person matched it",
    "superseded": "a record that supersedes it corrected it",
    "first_corrected": "the record that had brought its value first was corrected away",
}


class ExceptionTold(NamedTuple):
    """An exception as the log tells it.

    Attributes:
        opened: The `RecordUnmatched` that opened it last.
        classified: That, or the `ExceptionReclassified` that said most recently why.
        classified_version: The definition in force then.
        case: How it stands, with what people did.
    """

    exception_id: str
    opened: Told
    classified: Told
    classified_version: int
    case: CaseStory

    @property
    def opening(self) -> RecordUnmatched:
        """The event that opened it."""
        assert isinstance(self.opened.event, RecordUnmatched)
        return self.opened.event

    @property
    def classification(self) -> RecordUnmatched | ExceptionReclassified:
        """The event that said why."""
        assert isinstance(self.classified.event, RecordUnmatched | ExceptionReclassified)
        return self.classified.event


def explain_exception(
    told: ExceptionTold,
    scene: Scene | None,
    opening_scene: Scene | None,
    contents: Contents,
) -> ExceptionExplanation:
    """Explain an exception as last classified.

    Args:
        scene: The definition in force when it was classified; None where it cannot be read.
        opening_scene: That in force when it opened.
        contents: Of the transaction and its candidates, as of the classification.
    """
    opening, what = told.opening, told.classification
    places = [(opening.side, opening.transaction_id)]
    places += [(one.side, one.transaction_id) for one in what.candidates]
    missing = not_found(places, contents)
    if scene is None:
        missing.append(f"Version {told.classified_version} of the definition cannot be read yet.")
    standing, closed, work = told.case.standing, told.case.closed, told.case.work
    explanation = ExceptionExplanation(
        exception_id=told.exception_id,
        side=SIDE_NAMES[opening.side],
        transaction_id=opening.transaction_id,
        amount=amount_text(opening.amount_minor, opening.currency),
        currency=opening.currency,
        category=what.category,
        severity=opening.severity,
        severity_because=_why_so_severe(opening, opening_scene),
        rule=what.rule,
        reason=what.reason,
        status=standing.status,
        resolution=standing.resolution,
        resolution_reason=closed.reason if closed is not None else None,
        match_id=closed.match_id if closed is not None else None,
        assignee=standing.assignee,
        work=work,
        definition_version=told.classified_version,
        candidates=[_explain_candidate(one, places[0], scene, contents) for one in what.candidates],
        not_tried=list(_not_tried(what, scene)),
        missing=missing,
        sentences=[],
    )
    explanation.sentences.extend(_sentences(explanation))
    return explanation


def _why_so_severe(opening: RecordUnmatched, scene: Scene | None) -> str | None:
    """Which threshold gave the severity, asked of the function that rated it."""
    if scene is None:
        return None
    thresholds = scene.definition.severity
    by_amount = severity(thresholds, opening.amount_minor, opening.currency, 0)
    amount = amount_text(abs(opening.amount_minor), opening.currency)
    limits = (
        f"medium from {thresholds.medium:f}, high from {thresholds.high:f}, critical from "
        f"{thresholds.critical:f} {opening.currency}"
    )
    said = f"{amount} {opening.currency} is {by_amount} ({limits})"
    if by_amount == opening.severity:
        return f"{said}."
    waited = duration_text(thresholds.escalate_after_us)
    return f"{said}, raised to {opening.severity} since it had waited for more than {waited}."


def _explain_candidate(
    candidate: Candidate, place: tuple[int, str], scene: Scene | None, contents: Contents
) -> CandidateExplanation:
    rule = scene.rule(candidate.rule) if scene is not None else None
    mine = contents.get(place)
    other = contents.get((candidate.side, candidate.transaction_id))
    evidence: Evidence | None = None
    failed_condition = None
    said = f"{candidate.detail}."
    if scene is not None and rule is not None and mine is not None and other is not None:
        pair = (mine, other) if mine.side == 0 else (other, mine)
        evidence = scene.weigh_pair(rule, *pair)
        _, failed_condition = scene.first_failure(rule, *pair)
        said = _failed(candidate, evidence, failed_condition, is_group=rule.many_side is not None)
    return CandidateExplanation(
        transaction_id=candidate.transaction_id,
        side=SIDE_NAMES[candidate.side],
        amount=amount_text(candidate.amount_minor, candidate.currency),
        currency=candidate.currency,
        rule=candidate.rule,
        failed=candidate.failed,
        failed_condition=failed_condition,
        detail=candidate.detail,
        evidence=evidence,
        sentence=f"{candidate.transaction_id}, nearest by rule {candidate.rule}: {said}",
    )


def _failed(
    candidate: Candidate, evidence: Evidence, failed_condition: int | None, *, is_group: bool
) -> str:
    """What failed first, in the words of the part that says so."""
    match candidate.failed:
        case "condition" if failed_condition is not None:
            return evidence.conditions[failed_condition].sentence
        case "currency":
            return evidence.amount.sentence
        case "amount" if is_group:
            return (
                "it fits in all that is asked of a pair, but no group with both was taken. By "
                f"themselves: {evidence.amount.sentence}"
            )
        case "amount":
            return evidence.amount.sentence
        case "date":
            return next(one.sentence for one in evidence.dates if not one.holds)
        case "refused":
            return "it fits, but a person has rejected or reversed just this match."
        case "ambiguous":
            return "all that is asked of the two holds; others compete for one of them."
    return f"{candidate.detail}."


def _not_tried(what: RecordUnmatched | ExceptionReclassified, scene: Scene | None) -> Iterator[str]:
    if any(words in what.reason for words in BOUND_WORDS):
        yield f"{what.reason[0].upper()}{what.reason[1:]}."
    if len(what.candidates) == CANDIDATES_MAX:
        yield (
            f"Only the {CANDIDATES_MAX} nearest are named, of the first {FELLOWS_MAX} "
            "transactions with an equal key under each rule."
        )
    keyless = [] if scene is None else [rule.name for rule in scene.rules if not rule.has_key]
    if keyless and what.category != "duplicate":
        yield (
            f"Near misses are looked for by equal keys; {', '.join(keyless)} has no condition of "
            "equality and names none."
        )


def _sentences(shown: ExceptionExplanation) -> Iterator[str]:
    is_gone = shown.resolution is not None and shown.resolution not in BY_PERSON
    yield (
        f"{shown.side} {shown.transaction_id} over {shown.amount} {shown.currency} "
        f"{'was' if is_gone else 'is'} an exception, {shown.category}: "
        f"{_CATEGORIES[shown.category]}."
    )
    yield f"Reason: {shown.reason}."
    if shown.severity_because is not None:
        yield f"Severity {shown.severity}: {shown.severity_because}"
    for candidate in shown.candidates:
        yield candidate.sentence
    yield from shown.not_tried
    for one in shown.work:
        yield f"{one.at}: {one.sentence}"
    if is_gone:
        how = _RESOLUTIONS.get(shown.resolution or "", shown.resolution)
        match = f" (match {shown.match_id})" if shown.match_id else ""
        yield f"It is resolved: {how}{match}."
    elif shown.resolution is not None:
        how = "" if shown.resolution == DISMISSED else f" as {shown.resolution}"
        yield (
            f"It is {shown.status}{how} by a person; that closes it for people, and a counterpart "
            "that comes later is matched all the same."
        )
    elif shown.assignee is not None:
        yield f"It is in progress: {shown.assignee} works on it."
    yield from shown.missing
