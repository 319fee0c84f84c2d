"""Why a transaction stayed alone: its category, and its nearest candidates with what failed."""

from typing import NamedTuple

from domain.definitions import Severity
from domain.events import Candidate
from domain.matching.book import Book
from domain.matching.legs import DUPLICATE, OPEN, Leg
from domain.matching.pools import KeyedPool
from domain.money import currency_digits, format_minor

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
_DAY_US = 86_400_000_000


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


def _money(leg: Leg) -> str:
    digits = currency_digits(leg.currency)
    assert digits is not None, leg.currency
    return f"{format_minor(leg.amount_minor, digits)} {leg.currency}"


def _detail(failed: str | None, leg: Leg, other: Leg) -> str:
    """One sentence on what sets a candidate apart."""
    match failed:
        case None:
            return f"{other.transaction_id} fits, and so does another"
        case "currency":
            return f"{_money(other)} against {_money(leg)}: the currencies differ"
        case "amount":
            digits = currency_digits(leg.currency)
            assert digits is not None, leg.currency
            source, target = (leg, other) if leg.side == 0 else (other, leg)
            difference = format_minor(target.amount_minor - source.amount_minor, digits)
            return f"{_money(other)} against {_money(leg)}: differs by {difference}"
        case "date":
            source, target = (leg, other) if leg.side == 0 else (other, leg)
            days = (target.occurred_at // _DAY_US) - (source.occurred_at // _DAY_US)
            return f"the target's day is {days} days from the source's, outside the window"
        case "refused":
            return f"{other.transaction_id} fits, but a person has rejected or reversed the match"
    return f"{other.transaction_id} has the key but fails another condition"


def _near_misses(book: Book, leg: Leg) -> list[tuple[tuple[int, ...], Candidate]]:
    """Open legs of the other side with an equal key, each by the first rule that finds it."""
    found: dict[str, tuple[tuple[int, ...], Candidate]] = {}
    for rule, pool in zip(book.rules, book.pools, strict=True):
        key = leg.keys[rule.slot]
        if not isinstance(pool, KeyedPool) or key is None:
            continue
        fellows = pool.bucket(key)[1 - leg.side]
        for other in fellows[:FELLOWS_MAX]:
            if other.rule != OPEN or other.disposition == DUPLICATE:
                continue
            source, target = (leg, other) if leg.side == 0 else (other, leg)
            failed = rule.first_failure(source, target)
            if failed is None and rule.many_side is not None:
                failed = "amount"
            nearness = (
                _RANK[failed],
                abs(target.amount_minor - source.amount_minor),
                abs(target.occurred_at - source.occurred_at),
                rule.index,
            )
            before = found.get(other.transaction_id)
            if before is None or nearness < before[0]:
                found[other.transaction_id] = (
                    nearness,
                    Candidate(
                        transaction_id=other.transaction_id,
                        side=other.side,
                        amount_minor=other.amount_minor,
                        currency=other.currency,
                        rule=rule.name,
                        failed=failed or "ambiguous",
                        detail=_detail(failed, leg, other),
                    ),
                )
    return sorted(found.values(), key=lambda entry: (entry[0], entry[1].transaction_id))


def classify(book: Book, leg: Leg) -> Classification:
    """Say why `leg` has no match, from what is open now.

    The category is the most specific a near miss supports; without any it says which side is
    missing.
    """
    near = _near_misses(book, leg)
    candidates = [candidate for _, candidate in near[:CANDIDATES_MAX]]
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
