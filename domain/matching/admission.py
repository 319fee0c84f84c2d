"""The tests of a pair made into one, with as few calls as may be: it is asked of every pair."""

from collections.abc import Callable, Mapping, Sequence

from domain.matching.amounts import Limits
from domain.matching.dates import Span
from domain.matching.legs import Leg

#: Whether a source and a target may be a match.
PairTest = Callable[[Leg, Leg], bool]

# More than any two days or instants lie apart, whatever the unit.
_UNBOUNDED = 1 << 80


def all_of(tests: Sequence[PairTest]) -> PairTest:
    """Ask one test after another."""
    if len(tests) == 1:
        return tests[0]
    first, second, *others = tests
    if not others:
        return lambda source, target: first(source, target) and second(source, target)
    if len(others) == 1:
        (third,) = others
        return lambda source, target: (
            first(source, target) and second(source, target) and third(source, target)
        )
    return lambda source, target: all(test(source, target) for test in tests)


def amounts_and_a_span(limits: Mapping[str, Limits], slot: int, span: Span) -> PairTest:
    """Compare amounts as they are, and one measure of time at a place of `Leg.keys`."""
    low = -_UNBOUNDED if span.low is None else span.low
    high = _UNBOUNDED if span.high is None else span.high

    def agree(source: Leg, target: Leg) -> bool:
        currency = source.currency
        if currency != target.currency:
            return False
        begin, end = source.keys[slot], target.keys[slot]
        if begin is None or end is None or not low <= end - begin <= high:
            return False
        return limits[currency].agree(source.amount_minor, target.amount_minor)

    return agree
