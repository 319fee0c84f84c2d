"""Indexes over legs of one side, each asked by legs of the other.

An index gives everything a leg can be a candidate with, and perhaps more: the rule itself is asked
of whatever is found.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, NamedTuple, Protocol

from sortedcontainers import SortedKeyList

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg

_AFTER_ALL_IDS = "\U0010ffff"

#: Bounds of a number, ends included; None is unbounded.
Bounds = tuple[int | None, int | None]

#: Bounds that nothing is within.
_NOWHERE: Final = (0, -1)
_NOBODY: Final[dict[Leg, None]] = {}


class Search(NamedTuple):
    """What an index has for a leg: how many legs, and they themselves."""

    size: int
    legs: Callable[[], Iterable[Leg]]


class Index(Protocol):
    """An index over the legs of one side."""

    def add(self, leg: Leg) -> None:
        """Let a leg be found."""

    def discard(self, leg: Leg) -> None:
        """Let a leg be found no longer."""

    def search(self, leg: Leg) -> Search | None:
        """What a leg of the other side can be a candidate with; None: it could be anything."""


class SortedIndex:
    """Legs by a number.

    Args:
        number: A filed leg's number; one without is a candidate with nobody.
        bounds: Where numbers of candidates of a leg of the other side lie; None: anywhere.
    """

    def __init__(
        self, number: Callable[[Leg], int | None], bounds: Callable[[Leg], Bounds | None]
    ) -> None:
        self._number = number
        self._bounds = bounds
        self._legs = SortedKeyList(key=lambda leg: (number(leg), leg.transaction_id))

    def add(self, leg: Leg) -> None:
        """See `Index.add`."""
        if self._number(leg) is not None:
            self._legs.add(leg)

    def discard(self, leg: Leg) -> None:
        """See `Index.discard`."""
        if self._number(leg) is not None:
            self._legs.discard(leg)

    def search(self, leg: Leg) -> Search | None:
        """See `Index.search`."""
        bounds = self._bounds(leg)
        if bounds is None:
            return None
        low, high = bounds
        begin = 0 if low is None else self._legs.bisect_key_left((low, ""))
        end = (
            len(self._legs) if high is None else self._legs.bisect_key_right((high, _AFTER_ALL_IDS))
        )
        return Search(max(end - begin, 0), lambda: self._legs.islice(begin, max(begin, end)))


class BucketIndex:
    """Legs by a number, in buckets as wide as what a search asks for: it looks into two of them.

    Args:
        number: A filed leg's number; one without is a candidate with nobody.
        bounds: Where numbers of candidates of a leg of the other side lie, ends included.
        width: How many numbers lie within the bounds, at most.
    """

    def __init__(
        self, number: Callable[[Leg], int | None], bounds: Callable[[Leg], Bounds], width: int
    ) -> None:
        self._number = number
        self._bounds = bounds
        self._width = width
        self._buckets: dict[int, dict[Leg, None]] = {}

    def add(self, leg: Leg) -> None:
        """See `Index.add`."""
        number = self._number(leg)
        if number is not None:
            bucket = number // self._width
            legs = self._buckets.get(bucket)
            if legs is None:
                self._buckets[bucket] = {leg: None}
            else:
                legs[leg] = None

    def discard(self, leg: Leg) -> None:
        """See `Index.discard`."""
        number = self._number(leg)
        if number is not None:
            bucket = number // self._width
            legs = self._buckets.get(bucket)
            if legs is not None:
                legs.pop(leg, None)
                if not legs:
                    del self._buckets[bucket]

    def search(self, leg: Leg) -> Search | None:
        """See `Index.search`."""
        low, high = self._bounds(leg)
        assert low is not None, "without a bound there is no width"
        assert high is not None, "without a bound there is no width"
        first, last = low // self._width, high // self._width
        some = self._buckets.get(first, _NOBODY)
        if last == first:
            return Search(len(some), lambda: some)
        others = self._buckets.get(last, _NOBODY)
        return Search(len(some) + len(others), lambda: chain(some, others))


def _by_value(rule: CompiledRule, currency: str) -> Index:
    limits = rule.limits(currency)

    def number(leg: Leg) -> int | None:
        value = rule.value_of(leg)
        return None if value is None else value[1]

    def bounds(leg: Leg) -> Bounds | None:
        value = rule.value_of(leg)
        assert value is not None, "a leg without a value is on no shelf"
        return limits.reach(value[1], leg.side)

    if limits.width is None:
        return SortedIndex(number, bounds)

    def both_bounds(leg: Leg) -> Bounds:
        return bounds(leg) or _NOWHERE

    return BucketIndex(number, both_bounds, limits.width)


def _by_time(slot: int, low: int | None, high: int | None) -> Index:
    """Legs by what a span measures; `low` and `high` bound target − source."""

    def number(leg: Leg) -> int | None:
        measured: int | None = leg.keys[slot]
        return measured

    def bounds(leg: Leg) -> Bounds:
        measured = leg.keys[slot]
        if measured is None:
            return _NOWHERE
        first, last = (low, high) if leg.side == 0 else (high, low)
        sign = 1 if leg.side == 0 else -1
        return (
            None if first is None else measured + sign * first,
            None if last is None else measured + sign * last,
        )

    if low is None or high is None:
        return SortedIndex(number, bounds)
    return BucketIndex(number, bounds, max(high - low + 1, 1))


def number_indexes(rule: CompiledRule, currency: str) -> list[Index]:
    """Indexes of one side by the numbers that a rule bounds: values, days, instants.

    Args:
        currency: The one in which all of the legs are compared.

    What a rule asks of texts is not among them: `domain.matching.text_indexes` is costlier to keep.
    """
    indexes: list[Index] = []
    if rule.rule.amount.kind != "equal":
        indexes.append(_by_value(rule, currency))
    for slot, span in rule.spans:
        indexes.append(_by_time(slot, span.low, span.high))
    return indexes
