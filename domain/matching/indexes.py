"""Indexes over legs of one side, each asked by legs of the other.

An index gives everything a leg can be a candidate with, and perhaps more: the rule itself is asked
of whatever is found.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from sortedcontainers import SortedKeyList

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg

_AFTER_ALL_IDS = "\U0010ffff"

#: Bounds of a number, ends included; None is unbounded.
Bounds = tuple[int | None, int | None]


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


def _by_value(rule: CompiledRule) -> SortedIndex:
    def number(leg: Leg) -> int | None:
        value = rule.value_of(leg)
        return None if value is None else value[1]

    def bounds(leg: Leg) -> Bounds | None:
        value = rule.value_of(leg)
        assert value is not None, "a leg without a value is on no shelf"
        return rule.limits(value[0]).reach(value[1], leg.side)

    return SortedIndex(number, bounds)


def _by_time(slot: int, low: int | None, high: int | None) -> SortedIndex:
    """Legs by what a span measures; `low` and `high` bound target − source."""

    def number(leg: Leg) -> int | None:
        measured: int | None = leg.keys[slot]
        return measured

    def bounds(leg: Leg) -> Bounds | None:
        measured = leg.keys[slot]
        if measured is None:
            return 0, -1
        first, last = (low, high) if leg.side == 0 else (high, low)
        sign = 1 if leg.side == 0 else -1
        return (
            None if first is None else measured + sign * first,
            None if last is None else measured + sign * last,
        )

    return SortedIndex(number, bounds)


def number_indexes(rule: CompiledRule) -> list[Index]:
    """Indexes of one side by the numbers that a rule bounds: values, days, instants.

    What a rule asks of texts is not among them: `domain.matching.text_indexes` is costlier to keep.
    """
    indexes: list[Index] = []
    if rule.rule.amount.kind != "equal":
        indexes.append(_by_value(rule))
    for slot, span in rule.spans:
        indexes.append(_by_time(slot, span.low, span.high))
    return indexes
