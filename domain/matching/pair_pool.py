"""Finding the partners of a leg for a one-to-one rule, without looking through all that is open.

Few legs with one key are simply tried. Once a key holds many, they stand on *shelves*: by currency,
and by value where values have to be equal. Where a shelf holds many too, its legs are indexed by
every measure of the rule that can narrow them down: value and times in sorted order, and where
that still leaves many, texts by their parts. A search counts what each index would give and takes
the one that gives least.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from domain.matching.compiled import CompiledRule
from domain.matching.group_pool import GroupPool
from domain.matching.indexes import Index, Search, number_indexes
from domain.matching.legs import Leg, by_time
from domain.matching.pools import NOTHING_KNOWN, Found, KeyedPool, Pool
from domain.matching.text_indexes import text_indexes
from domain.matching.unique_pool import UniquePool
from domain.matching.values import Value

# Up to so many legs are tried one by one: asking that many costs as much as an index does.
FEW: Final = 16
# A connected set with more candidate pairs than this is not followed to its end: it tells a person
# nothing, and following it again at every step would cost what is open each time.
PAIRS_MAX: Final = 25_000


class Side:
    """One side of a shelf."""

    def __init__(self, rule: CompiledRule) -> None:
        self._rule = rule
        self.legs: dict[Leg, None] = {}
        self._indexes: list[Index] = []
        # Made in turn, once a search by those before has left many to try: they cost to keep.
        self._unmade: list[Callable[[], list[Index]]] | None = None

    def add(self, leg: Leg) -> None:
        """Put a leg on."""
        self.legs[leg] = None
        for index in self._indexes:
            index.add(leg)

    def discard(self, leg: Leg) -> None:
        """Take a leg off."""
        if leg in self.legs:
            del self.legs[leg]
            for index in self._indexes:
                index.discard(leg)
            if not self.legs:
                self._indexes, self._unmade = [], None

    def near(self, leg: Leg) -> Iterable[Leg]:
        """Legs among which all candidates of `leg`, of the other side, are."""
        if len(self.legs) <= FEW or self._rule.plain:
            return self.legs
        if self._unmade is None:
            self._unmade = self._makers(leg)
        least: Search | None = None
        for index in self._indexes:
            least = _lesser(least, index.search(leg))
        while self._unmade and (least is None or least.size > FEW):
            for index in self._unmade.pop(0)():
                for one in self.legs:
                    index.add(one)
                self._indexes.append(index)
                least = _lesser(least, index.search(leg))
        return self.legs if least is None else least.legs()

    def _makers(self, leg: Leg) -> list[Callable[[], list[Index]]]:
        value = self._rule.value_of(leg)
        assert value is not None, "a leg without a value is on no shelf"
        makers = [partial(list[Index], [index]) for index in number_indexes(self._rule, value[0])]
        return [*makers, *(partial(text_indexes, test) for test in self._rule.texts)]


def _lesser(one: Search | None, other: Search | None) -> Search | None:
    if one is None or other is None:
        return one or other
    return other if other.size < one.size else one


class Shelf:
    """Both sides of legs in one currency, or of one value, under one key."""

    def __init__(self, rule: CompiledRule) -> None:
        self.sides = Side(rule), Side(rule)

    @property
    def legs(self) -> tuple[dict[Leg, None], dict[Leg, None]]:
        """The legs of either side."""
        return self.sides[0].legs, self.sides[1].legs


class Crowd:
    """The shelves of one key."""

    def __init__(self, rule: CompiledRule) -> None:
        self._rule = rule
        self._by_value = rule.rule.amount.kind == "equal"
        self._shelves: dict[Value | str, Shelf] = {}

    def place_of(self, leg: Leg) -> Value | str | None:
        """Which shelf a leg is on; None if it lacks what would be compared."""
        value = self._rule.value_of(leg)
        return value if value is None or self._by_value else value[0]

    def shelf(self, leg: Leg) -> Shelf | None:
        """The shelf a leg is on."""
        place = self.place_of(leg)
        return None if place is None else self._shelves.get(place)

    def add(self, leg: Leg) -> None:
        """Put a leg on its shelf."""
        place = self.place_of(leg)
        if place is not None:
            shelf = self._shelves.get(place)
            if shelf is None:
                shelf = self._shelves[place] = Shelf(self._rule)
            shelf.sides[leg.side].add(leg)

    def discard(self, leg: Leg) -> None:
        """Take a leg off its shelf."""
        place = self.place_of(leg)
        if place is not None:
            shelf = self._shelves.get(place)
            if shelf is not None:
                sides = shelf.sides
                sides[leg.side].discard(leg)
                if not sides[0].legs and not sides[1].legs:
                    del self._shelves[place]


class PairPool(KeyedPool):
    """Legs of a one-to-one rule, by key, and in crowds by what else narrows them down."""

    def __init__(self, rule: CompiledRule) -> None:
        super().__init__(rule)
        self._rule = rule
        #: By key, where that holds many.
        self.crowds: dict[Any, Crowd] = {}
        # Without a key all stand in one crowd, whose indexes cost more to keep than a match by an
        # earlier rule: a leg is put there once somebody asks, if it is still open then.
        self._waits = not rule.has_key
        self._crowd = Crowd(rule)
        self._waiting: dict[Leg, None] = {}

    def add(self, leg: Leg) -> None:
        """See `Pool.add`."""
        if self._waits and not leg.met:
            self._waiting[leg] = None
        else:
            self._file(leg)

    def add_all(self, legs: Sequence[Leg]) -> None:
        """See `Pool.add_all`."""
        if self._waits:
            self._waiting.update(dict.fromkeys(legs))
            return
        slot, crowds = self._slot, self.crowds
        put = self.sides[legs[0].side].setdefault
        for leg in legs:
            key = leg.keys[slot]
            if key is not None and (key in crowds or put(key, leg) is not leg):
                self._file(leg)

    def _file_waiting(self) -> None:
        if self._waiting:
            for leg in self._waiting:
                self._file(leg)
            self._waiting.clear()

    def _file(self, leg: Leg) -> None:
        if self._waits:
            self._crowd.add(leg)
            return
        super().add(leg)
        key = leg.keys[self._slot]
        crowd = self.crowds.get(key)
        if crowd is not None:
            crowd.add(leg)
            return
        entry = self.sides[leg.side].get(key)
        if type(entry) is dict and len(entry) > FEW:
            crowd = self.crowds[key] = Crowd(self._rule)
            for side in self.bucket(key):
                for one in side:
                    crowd.add(one)

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        if leg in self._waiting:
            del self._waiting[leg]
            return
        if self._waits:
            self._crowd.discard(leg)
            return
        super().discard(leg)
        if not self.crowds:
            return
        key = leg.keys[self._slot]
        crowd = self.crowds.get(key)
        if crowd is not None:
            crowd.discard(leg)
            if key not in self.sides[0] and key not in self.sides[1]:
                del self.crowds[key]

    def _crowd_of(self, key: Any) -> Crowd | None:
        return self._crowd if self._waits else self.crowds.get(key)

    def partners(self, leg: Leg) -> list[Leg]:
        """The legs that `leg` is a candidate with."""
        self._file_waiting()
        return list(self._partners(leg))

    def _partners(self, leg: Leg) -> Iterator[Leg]:
        """Its partners among those who do not wait."""
        crowd = self._crowd_of(leg.keys[self._slot])
        if crowd is None:
            near: Iterable[Leg] = super().fellows(leg)
        else:
            shelf = crowd.shelf(leg)
            near = () if shelf is None else shelf.sides[1 - leg.side].near(leg)
        admits = self._rule.admits
        if leg.side == 0:
            return (other for other in near if admits(leg, other))
        return (other for other in near if admits(other, leg))

    def place(self, leg: Leg) -> Hashable:
        """See `Pool.place`."""
        key = leg.keys[self._slot]
        if key is None or (self._waits and not leg.met):
            return None
        # All of one value pair with all, else everyone has partners of their own.
        together = self._rule.plain and not self._rule.refused
        return (key, self._rule.value_of(leg)) if together else leg

    def around(self, leg: Leg, known: Mapping[Leg, Found] = NOTHING_KNOWN) -> Found | None:
        """See `Pool.around`."""
        key = leg.keys[self._slot]
        if key is None:
            return None
        self._file_waiting()
        crowd = self._crowd_of(key)
        if crowd is None:
            found = Found(key, *self.bucket(key))
        elif not self._rule.plain:
            found = self._connected(leg, known)
        else:
            shelf, place = crowd.shelf(leg), crowd.place_of(leg)
            if shelf is None or not all(shelf.legs):
                return None
            found = Found((key, place), list(shelf.legs[0]), list(shelf.legs[1]))
        if self._waits:
            for one in (*found.sources, *found.targets):
                one.met = True
        return found

    def _connected(self, leg: Leg, known: Mapping[Leg, Found]) -> Found:
        """Candidates chain: a partner's partners belong to the set, and so on."""
        seen: dict[Leg, None] = {leg: None}
        frontier = deque((leg,))
        ends = 0
        too_many = False
        while frontier and not too_many:
            for other in self._partners(frontier.popleft()):
                ends += 1
                if other not in seen:
                    seen[other] = None
                    frontier.append(other)
                    # Only a set that was not followed to its end is met again from outside.
                    met = known.get(other)
                    too_many = met is not None and met.too_many
                if too_many or ends > 2 * PAIRS_MAX:
                    too_many = True
                    break
        return Found(
            # Any member names the set; the first by time is the same from wherever one starts.
            min(map(by_time, seen)),
            [one for one in seen if one.side == 0],
            [one for one in seen if one.side == 1],
            self.partners,
            too_many=too_many,
        )

    def beside(self, gone: Leg) -> Iterable[Leg]:
        """See `Pool.beside`.

        What is left of a set that `gone` stood in is in pieces, each with a partner of `gone`.
        """
        key = gone.keys[self._slot]
        if key is None:
            return ()
        # Nothing has been decided about those who still wait, and a look at them is planned.
        crowd = self._crowd_of(key)
        together = self._rule.plain and not self._rule.refused
        if crowd is None or not together or self._rule.policy == "lowest_id":
            return list(self._partners(gone))
        shelf = crowd.shelf(gone)
        # All pair with all: either two are left, who are now a match, or nothing changes.
        if shelf is None or len(shelf.legs[0]) != 1 or len(shelf.legs[1]) != 1:
            return ()
        return (*shelf.legs[0], *shelf.legs[1])

    def fellows(self, leg: Leg) -> Collection[Leg]:
        """See `Pool.fellows`."""
        return super().fellows(leg) if self._rule.has_key else ()

    def alone(self, legs: list[Leg]) -> list[Leg]:
        """See `Pool.alone`; without a key nobody is, for nobody is filed under one."""
        alone = super().alone(legs)
        return [leg for leg in alone if leg.keys[self._slot] not in self.crowds]


def make_pool(rule: CompiledRule) -> Pool:
    """The pool that finds this rule's candidates."""
    if rule.unique:
        return UniquePool(rule)
    return PairPool(rule) if rule.many_side is None else GroupPool(rule)
