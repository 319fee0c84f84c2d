"""Where open legs wait to be found, one pool per rule.

The cost of putting a leg in, taking it out and finding its fellows does not grow with what else is
open. A pool also keeps *rivals*: legs that a later rule has matched, which still count when this
rule asks whether a set is ambiguous or a group whole (`CompiledRule.remembers_rivals`).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from sortedcontainers import SortedKeyList

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg
from domain.matching.values import Value

#: Both sides of what stands under one key: source legs and target legs.
Bucket = tuple[list[Leg], list[Leg]]
#: What stands under a key of a side; a text only in a `UniquePool`.
Entry = Leg | list[Leg] | str


class Pool(Protocol):
    """What matching asks of a pool."""

    def add(self, leg: Leg) -> None:
        """Let `leg` be found."""

    def discard(self, leg: Leg) -> None:
        """Let `leg` be found no longer."""

    def around(self, leg: Leg) -> tuple[Any, Bucket] | None:
        """The legs that `leg` may be a candidate with, itself included.

        Returns:
            A name for the set, equal for all its members, and the legs; None if `leg` has no key.
        """


class KeyedPool:
    """Legs by the value of a rule's equality conditions."""

    def __init__(self, rule: CompiledRule) -> None:
        self._slot = rule.slot
        #: Per side. One leg stands by itself, several in a list: most keys hold one.
        self.sides: tuple[dict[Any, Entry], dict[Any, Entry]] = ({}, {})

    def add(self, leg: Leg) -> None:
        """See `Pool.add`."""
        key = leg.keys[self._slot]
        if key is None:
            return
        side = self.sides[leg.side]
        found = side.setdefault(key, leg)
        if found is leg:
            return
        if type(found) is list:
            found.append(leg)
        else:
            assert isinstance(found, Leg)
            side[key] = [found, leg]

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        key = leg.keys[self._slot]
        if key is None:
            return
        side = self.sides[leg.side]
        found = side.get(key)
        if found is leg:
            del side[key]
        elif type(found) is list:
            found.remove(leg)
            if len(found) == 1:
                side[key] = found[0]

    def around(self, leg: Leg) -> tuple[Any, Bucket] | None:
        """See `Pool.around`."""
        key = leg.keys[self._slot]
        return None if key is None else (key, self.bucket(key))

    def bucket(self, key: Any) -> Bucket:
        """Both sides of one key."""
        sources, targets = self.sides[0].get(key), self.sides[1].get(key)
        return _as_list(sources), _as_list(targets)


def _as_list(found: Entry | None) -> list[Leg]:
    if isinstance(found, Leg):
        return [found]
    return found if isinstance(found, list) else []


class UniquePool(KeyedPool):
    """Legs by a value that may occur once per side.

    Once its leg has matched a value is spent: the id of that transaction then stands in the leg's
    place, and whoever brings the value again is a duplicate of it.
    """

    def add(self, leg: Leg) -> None:
        """See `Pool.add`; a leg whose value is spent is not filed, its look sets it aside."""
        key = leg.keys[self._slot]
        if key is None:
            return
        side = self.sides[leg.side]
        found = side.get(key)
        if found is None:
            side[key] = leg
        elif type(found) is not str:
            super().add(leg)

    def spend(self, leg: Leg, key: Any) -> None:
        """Take `leg` out for good: its value, `key`, is used up."""
        self.sides[leg.side][key] = leg.transaction_id

    def spent_by(self, side: int, key: Any) -> str | None:
        """The id of the transaction that used a value up, None while nobody has."""
        found = self.sides[side].get(key)
        return found if isinstance(found, str) else None

    def forget(self, side: int, key: Any) -> None:
        """Let a spent value be new again, once ids of its age are remembered no longer."""
        if type(self.sides[side].get(key)) is str:
            del self.sides[side][key]


class EqualAmountPool:
    """Legs by currency and value, for a rule without conditions that wants equal amounts."""

    def __init__(self, rule: CompiledRule) -> None:
        self._value_of = rule.value_of
        self._buckets: dict[Value, tuple[dict[Leg, None], dict[Leg, None]]] = {}

    def add(self, leg: Leg) -> None:
        """See `Pool.add`."""
        key = self._value_of(leg)
        if key is None:
            return
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = ({}, {})
        bucket[leg.side][leg] = None

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        key = self._value_of(leg)
        bucket = None if key is None else self._buckets.get(key)
        if key is not None and bucket is not None:
            bucket[leg.side].pop(leg, None)
            if not bucket[0] and not bucket[1]:
                del self._buckets[key]

    def around(self, leg: Leg) -> tuple[Any, Bucket] | None:
        """See `Pool.around`."""
        key = self._value_of(leg)
        if key is None:
            return None
        sources, targets = self._buckets.get(key, ({}, {}))
        return key, (list(sources), list(targets))


class AmountRangePool:
    """Legs by value in order, for a rule without conditions that allows a difference.

    Candidates chain: a source near a target that is near another source belongs to one set. The
    set is followed from leg to leg, each step a search in sorted order.
    """

    def __init__(self, rule: CompiledRule) -> None:
        self._rule = rule
        self._currencies: dict[str, tuple[SortedKeyList, SortedKeyList]] = {}

    def _by_value(self, leg: Leg) -> tuple[int, str]:
        value = self._rule.value_of(leg)
        assert value is not None, "a leg without a value is not filed"
        return value[1], leg.transaction_id

    def add(self, leg: Leg) -> None:
        """See `Pool.add`."""
        value = self._rule.value_of(leg)
        if value is None:
            return
        sides = self._currencies.get(value[0])
        if sides is None:
            sides = self._currencies[value[0]] = (
                SortedKeyList(key=self._by_value),
                SortedKeyList(key=self._by_value),
            )
        sides[leg.side].add(leg)

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        value = self._rule.value_of(leg)
        sides = None if value is None else self._currencies.get(value[0])
        if sides is not None:
            sides[leg.side].discard(leg)

    def _candidates(self, leg: Leg) -> Iterable[Leg]:
        value = self._rule.value_of(leg)
        sides = None if value is None else self._currencies.get(value[0])
        if value is None or sides is None:
            return ()
        others = sides[1 - leg.side]
        limits = self._rule.limits(value[0]).reach(value[1], leg.side)
        near: Iterator[Leg] = (
            iter(others)
            if limits is None
            else others.irange_key((limits[0], ""), (limits[1], "\U0010ffff"))
        )
        admits = self._rule.admits
        if leg.side == 0:
            return [other for other in near if admits(leg, other)]
        return [other for other in near if admits(other, leg)]

    def around(self, leg: Leg) -> tuple[Any, Bucket] | None:
        """See `Pool.around`."""
        found: dict[Leg, None] = {leg: None}
        frontier = [leg]
        while frontier:
            for other in self._candidates(frontier.pop()):
                if other not in found:
                    found[other] = None
                    frontier.append(other)
        sources = [one for one in found if one.side == 0]
        targets = [one for one in found if one.side == 1]
        # Any member names the set; the first by time is the same from wherever one starts.
        name = min((one.occurred_at, one.side, one.transaction_id) for one in found)
        return name, (sources, targets)


def make_pool(rule: CompiledRule) -> Pool:
    """The pool that finds this rule's candidates."""
    if rule.unique:
        return UniquePool(rule)
    if rule.has_key:
        return KeyedPool(rule)
    return EqualAmountPool(rule) if rule.rule.amount.kind == "equal" else AmountRangePool(rule)
