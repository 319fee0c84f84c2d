"""Where open legs wait to be found, one pool per rule.

The cost of putting a leg in, taking it out and finding its fellows does not grow with what else is
open. A pool also keeps *rivals*: legs that a later rule has matched, which still count when this
rule asks whether a set is ambiguous or a group whole (`CompiledRule.remembers_rivals`).
"""

from collections.abc import Container, Iterable, Iterator
from typing import Any, Protocol

from sortedcontainers import SortedKeyList

from domain.definitions import AmountRule
from domain.matching.amounts import reach
from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg
from domain.money import currency_digits

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

    def __init__(self, rule: CompiledRule) -> None:
        super().__init__(rule)
        # Open legs whose value is spent: they cannot be found until it is free again.
        self._behind: dict[tuple[int, Any], list[Leg]] = {}
        # Ids of duplicates by the value they brought again.
        self._aside: dict[tuple[int, Any], list[str]] = {}

    def add(self, leg: Leg) -> None:
        """See `Pool.add`; a leg whose value is spent is not filed, its look sets it aside."""
        key = leg.keys[self._slot]
        if key is None:
            return
        side = self.sides[leg.side]
        found = side.get(key)
        if found is None:
            side[key] = leg
        elif type(found) is str:
            self._behind.setdefault((leg.side, key), []).append(leg)
        else:
            super().add(leg)

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        place = (leg.side, leg.keys[self._slot])
        behind = self._behind.get(place) if self._behind else None
        if behind is None or leg not in behind:
            super().discard(leg)
            return
        behind.remove(leg)
        if not behind:
            del self._behind[place]

    def spend(self, leg: Leg, key: Any) -> None:
        """Take `leg` out for good: its value, `key`, is used up."""
        side = self.sides[leg.side]
        found = side.get(key)
        if type(found) is str:
            self.discard(leg)  # used up before; it stays with who did
            return
        side[key] = leg.transaction_id
        if type(found) is list:
            behind = self._behind.setdefault((leg.side, key), [])
            behind += [one for one in found if one is not leg]

    def free(self, side: int, key: Any, holder: str) -> None:
        """Let a value be new again if `holder` used it up."""
        if self.sides[side].get(key) == holder:
            del self.sides[side][key]
            for leg in self._behind.pop((side, key), ()):
                self.add(leg)

    def spent_by(self, side: int, key: Any) -> str | None:
        """The id of the transaction that used a value up, None while nobody has."""
        found = self.sides[side].get(key)
        return found if isinstance(found, str) else None

    def forget(self, side: int, key: Any, known: Container[str]) -> None:
        """Let a spent value be new again, once who used it up is remembered no longer."""
        holder = self.sides[side].get(key)
        if type(holder) is str and holder not in known:
            self.free(side, key, holder)
            self._aside.pop((side, key), None)

    def set_aside(self, side: int, key: Any, transaction_id: str) -> None:
        """Note a duplicate, which is not found here any more."""
        self._aside.setdefault((side, key), []).append(transaction_id)

    def aside_from(self, side: int, key: Any) -> list[str]:
        """The duplicates of a value that nobody holds any more; none while one does."""
        return [] if key in self.sides[side] else self._aside.get((side, key), [])

    def drop_aside(self, side: int, key: Any, transaction_id: str) -> None:
        """Note a duplicate no longer, if it was."""
        ids = self._aside.get((side, key), [])
        if transaction_id in ids:
            ids.remove(transaction_id)

    @property
    def aside(self) -> list[tuple[int, str]]:
        """Side and id of every duplicate noted."""
        return [(side, one) for (side, _), ids in self._aside.items() for one in ids]


class EqualAmountPool:
    """Legs by currency and amount, for a rule without conditions that wants equal amounts."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, int], tuple[dict[Leg, None], dict[Leg, None]]] = {}

    def add(self, leg: Leg) -> None:
        """See `Pool.add`."""
        key = (leg.currency, leg.amount_minor)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = ({}, {})
        bucket[leg.side][leg] = None

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        key = (leg.currency, leg.amount_minor)
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket[leg.side].pop(leg, None)
            if not bucket[0] and not bucket[1]:
                del self._buckets[key]

    def around(self, leg: Leg) -> tuple[Any, Bucket] | None:
        """See `Pool.around`."""
        key = (leg.currency, leg.amount_minor)
        sources, targets = self._buckets.get(key, ({}, {}))
        return key, (list(sources), list(targets))


def _by_amount(leg: Leg) -> tuple[int, str]:
    return leg.amount_minor, leg.transaction_id


class AmountRangePool:
    """Legs by amount in order, for a rule without conditions that allows a difference.

    Candidates chain: a source near a target that is near another source belongs to one set. The
    set is followed from leg to leg, each step a search in sorted order.
    """

    def __init__(self, rule: CompiledRule) -> None:
        self._rule = rule
        self._amount: AmountRule = rule.rule.amount
        self._currencies: dict[str, tuple[SortedKeyList, SortedKeyList]] = {}

    def add(self, leg: Leg) -> None:
        """See `Pool.add`."""
        sides = self._currencies.get(leg.currency)
        if sides is None:
            sides = self._currencies[leg.currency] = (
                SortedKeyList(key=_by_amount),
                SortedKeyList(key=_by_amount),
            )
        sides[leg.side].add(leg)

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        sides = self._currencies.get(leg.currency)
        if sides is not None:
            sides[leg.side].discard(leg)

    def _candidates(self, leg: Leg) -> Iterable[Leg]:
        sides = self._currencies.get(leg.currency)
        if sides is None:
            return ()
        others = sides[1 - leg.side]
        digits = currency_digits(leg.currency)
        assert digits is not None, leg.currency
        limits = reach(self._amount, digits, leg.amount_minor, leg.side)
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
    return EqualAmountPool() if rule.rule.amount.kind == "equal" else AmountRangePool(rule)
