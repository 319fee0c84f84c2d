"""Why a transaction stayed alone: its category, and its nearest candidates with what failed."""

from decimal import Decimal
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

from domain.definitions import Severity
from domain.events import Candidate
from domain.instants import SECOND_US
from domain.matching.book import Book
from domain.matching.compiled import CompiledRule
from domain.matching.legs import DUPLICATE, OPEN, Leg
from domain.money import currency_digits, format_money

#: How many candidates an exception names.
CANDIDATES_MAX = 5
# Beyond this many fellows with one value the nearest is not searched for: a value that thousands
# share tells a person nothing, and looking through them for each would take the square of the time.
FELLOWS_MAX = 200

_CATEGORY = {
    "date": "date_mismatch",
    "amount": "amount_mismatch",
    "currency": "currency_mismatch",
    "condition": None,
    "refused": None,
    None: "ambiguous",
}
# The most specific first: what agrees in the most respects says the most.
_RANK = {None: 0, "date": 1, "amount": 2, "currency": 3, "condition": 4, "refused": 5}
_LEVELS = ("low", "medium", "high", "critical")


class Classification(NamedTuple):
    """What an exception says about its transaction."""

    category: str
    rule: str | None
    reason: str
    candidates: list[Candidate]

    @property
    def candidate_ids(self) -> tuple[str, ...]:
        """Ids of the named candidates, in their order."""
        return tuple(candidate.transaction_id for candidate in self.candidates)


def _shown(rule: CompiledRule, leg: Leg) -> str:
    """The amount of a leg, and what of it is compared where that is something else."""
    own = format_money(leg.amount_minor, leg.currency)
    if rule.value_slot is None:
        return own
    value = rule.value_of(leg)
    if value is None:
        return f"{own} (without what its basis needs)"
    return f"{own} (compared as {rule.comparison.decimal(value):f} {value[0]})"


def _apart(rule: CompiledRule, source: Leg, target: Leg) -> str:
    """How far a target is from the window of a source."""
    window = rule.rule.date
    assert window is not None
    for slot, span in rule.spans:
        begin, end = source.keys[slot], target.keys[slot]
        if begin is None or end is None:
            return "a bare date is no instant, so its seconds cannot be compared"
        if span.allows(end - begin):
            continue
        if span.is_instants:
            seconds = f"{Decimal(end - begin) / SECOND_US:f}"
            return f"the target is {seconds} seconds from the source, outside the window"
        days = "business days" if window.business else "days"
        return f"the target's day is {end - begin} {days} from the source's, outside the window"
    raise AssertionError("the pair is within the window")


def _detail(rule: CompiledRule, failed: str | None, leg: Leg, other: Leg) -> str:
    """One sentence on what sets a candidate apart."""
    source, target = (leg, other) if leg.side == 0 else (other, leg)
    match failed:
        case None:
            return f"{other.transaction_id} fits, and so does another"
        case "currency":
            return f"{_shown(rule, other)} against {_shown(rule, leg)}: the currencies differ"
        case "amount":
            difference = rule.difference(source, target)
            if difference is None:
                return f"{_shown(rule, other)} against {_shown(rule, leg)}: cannot be compared"
            return f"{_shown(rule, other)} against {_shown(rule, leg)}: differs by {difference:f}"
        case "date":
            return _apart(rule, source, target)
        case "refused":
            return f"{other.transaction_id} fits, but a person has rejected or reversed the match"
    return f"{other.transaction_id} has the key but fails {rule.failed_condition(source, target)}"


def _distance(rule: CompiledRule, source: Leg, target: Leg) -> int:
    """How far apart two amounts are, in minor units."""
    ours, theirs = rule.value_of(source), rule.value_of(target)
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return abs(target.amount_minor - source.amount_minor)
    return abs(rule.comparison.minor((ours[0], theirs[1] - ours[1])))


def _near_misses(book: Book, leg: Leg) -> list[Candidate]:
    """The nearest open legs of the other side with an equal key, each by the rule it is nearest by.

    Only those that are told are put into words: many share a key, few are near.
    """
    found: dict[str, tuple[tuple[int, ...], CompiledRule, str | None, Leg]] = {}
    for rule, pool in zip(book.rules, book.pools, strict=True):
        for other in islice(pool.fellows(leg), FELLOWS_MAX):
            if other.rule != OPEN or other.disposition == DUPLICATE:
                continue
            source, target = (leg, other) if leg.side == 0 else (other, leg)
            failed = rule.first_failure(source, target)
            if failed is None and rule.many_side is not None:
                failed = "amount"
            nearness = (
                _RANK[failed],
                _distance(rule, source, target),
                abs(target.occurred_at - source.occurred_at),
                rule.index,
            )
            before = found.get(other.transaction_id)
            if before is None or nearness < before[0]:
                found[other.transaction_id] = nearness, rule, failed, other
    nearest = nsmallest(
        CANDIDATES_MAX, found.values(), key=lambda entry: (entry[0], entry[3].transaction_id)
    )
    return [
        Candidate(
            transaction_id=other.transaction_id,
            side=other.side,
            amount_minor=other.amount_minor,
            currency=other.currency,
            rule=rule.name,
            failed=failed or "ambiguous",
            detail=_detail(rule, failed, leg, other),
        )
        for _, rule, failed, other in nearest
    ]


def classify(book: Book, leg: Leg) -> Classification:
    """Say why `leg` has no match, from what is open now.

    The category is the most specific a near miss supports; without any it says which side is
    missing.
    """
    candidates = _near_misses(book, leg)
    for candidate in candidates:
        failed = None if candidate.failed == "ambiguous" else candidate.failed
        category = _CATEGORY[failed]
        if category is not None:
            return Classification(category, candidate.rule, candidate.detail, candidates)
    missing = "missing_in_target" if leg.side == 0 else "missing_in_source"
    other = "target" if leg.side == 0 else "source"
    reason = f"nothing on the {other} side fits any rule"
    return Classification(missing, None, reason, candidates)


def severity(thresholds: Severity, amount_minor: int, currency: str, age_us: int) -> str:
    """Rate an exception by amount and age: low, medium, high or critical.

    Args:
        age_us: Event time since the transaction occurred, microseconds.
    """
    digits = currency_digits(currency)
    assert digits is not None, currency
    level = 0
    for threshold in (thresholds.medium, thresholds.high, thresholds.critical):
        if abs(amount_minor) >= threshold * 10**digits:
            level += 1
    if age_us > thresholds.escalate_after_us:
        level += 1
    return _LEVELS[min(level, len(_LEVELS) - 1)]
