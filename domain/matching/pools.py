"""Where open legs wait to be found, one pool per rule.

The cost of putting a leg in, taking it out and finding its fellows does not grow with what else is
open. A pool also keeps *rivals*: legs that a later rule has matched, which still count when this
rule asks whether a set is ambiguous or a group whole (`CompiledRule.remembers_rivals`).
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Known, Leg, Settled

#: Both sides of what stands under one key: source legs and target legs.
Bucket = tuple[list[Leg], list[Leg]]
#: What stands under a key of a side; a text only in a `UniquePool`.
Entry = Leg | dict[Leg, None] | str


class Found(NamedTuple):
    """Legs that may be candidates with one another.

    Attributes:
        name: Equal for all of them, and for no other set of the rule.
        sources, targets: The legs.
        partners: Gives the legs that one of them is a candidate with, where that is quicker than
            asking of every pair.
        too_many: Candidates were so many that not all were tried; the legs are some of the set.
    """

    name: Any
    sources: list[Leg]
    targets: list[Leg]
    partners: Callable[[Leg], Iterable[Leg]] | None = None
    too_many: bool = False


NOTHING_KNOWN: Final[Mapping[Leg, Found]] = {}


class Pool(Protocol):
    """What matching asks of a pool."""

    def add(self, leg: Leg) -> None:
        """Let `leg` be found."""

    def add_all(self, legs: Sequence[Leg]) -> None:
        """Let legs of one side be found."""

    def discard(self, leg: Leg) -> None:
        """Let `leg` be found no longer."""

    def around(self, leg: Leg, known: Mapping[Leg, Found] = NOTHING_KNOWN) -> Found | None:
        """The legs that `leg` may be a candidate with, itself included; None if it has no key.

        Args:
            known: What was found around others before; one of too many makes this too many.
        """

    def place(self, leg: Leg) -> Hashable:
        """Where `leg` stands; `beside` says the same of all in one place. None: nowhere."""

    def beside(self, gone: Leg) -> Iterable[Leg]:
        """Whom to look at again once `gone` is found no longer.

        Whatever can be decided now that could not be before, a look at one of these decides, or a
        look that is planned already.
        """

    def fellows(self, leg: Leg) -> Collection[Leg]:
        """Legs of the other side with an equal key, whatever else sets them apart."""

    def alone(self, legs: list[Leg]) -> list[Leg]:
        """Those of some legs of one side that nobody would find but who comes with their key.

        Each is the only one with its key, on both sides, or has none.
        """


class KeyedPool:
    """Legs by the value of a rule's equality conditions."""

    def __init__(self, rule: CompiledRule) -> None:
        self._slot = rule.slot
        #: Per side. One leg stands by itself, several in a dict: most keys hold one.
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
        if type(found) is dict:
            found[leg] = None
        else:
            assert isinstance(found, Leg)
            side[key] = {found: None, leg: None}

    def add_all(self, legs: Sequence[Leg]) -> None:
        """See `Pool.add_all`."""
        for leg in legs:
            self.add(leg)

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        key = leg.keys[self._slot]
        if key is None:
            return
        side = self.sides[leg.side]
        found = side.get(key)
        if found is leg:
            del side[key]
        elif type(found) is dict:
            found.pop(leg, None)
            if len(found) == 1:
                (side[key],) = found

    def around(self, leg: Leg, known: Mapping[Leg, Found] = NOTHING_KNOWN) -> Found | None:  # noqa: ARG002 - of the protocol
        """See `Pool.around`."""
        key = leg.keys[self._slot]
        return None if key is None else Found(key, *self.bucket(key))

    def place(self, leg: Leg) -> Hashable:
        """See `Pool.place`."""
        key: Hashable = leg.keys[self._slot]
        return key

    def beside(self, gone: Leg) -> Iterable[Leg]:
        """See `Pool.beside`."""
        key = gone.keys[self._slot]
        if key is None:
            return ()
        sources, targets = self.bucket(key)
        return [*sources, *targets]

    def fellows(self, leg: Leg) -> Collection[Leg]:
        """See `Pool.fellows`."""
        key = leg.keys[self._slot]
        return () if key is None else _entries(self.sides[1 - leg.side].get(key))

    def alone(self, legs: list[Leg]) -> list[Leg]:
        """See `Pool.alone`."""
        if not legs:
            return legs
        slot, ours, theirs = self._slot, self.sides[legs[0].side], self.sides[1 - legs[0].side]
        return [
            leg
            for leg in legs
            if (key := leg.keys[slot]) is None or (ours.get(key) is leg and key not in theirs)
        ]

    def bucket(self, key: Any) -> Bucket:
        """Both sides of one key."""
        sources, targets = (_entries(side.get(key)) for side in self.sides)
        return list(sources), list(targets)


def _entries(found: Entry | None) -> Collection[Leg]:
    if isinstance(found, Leg):
        return (found,)
    return found if isinstance(found, dict) else ()


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

    def add_all(self, legs: Sequence[Leg]) -> None:
        """See `Pool.add_all`."""
        slot = self._slot
        keys = [leg.keys[slot] for leg in legs]
        if None in keys:
            super().add_all(legs)
            return
        found = list(map(self.sides[legs[0].side].setdefault, keys, legs))
        if found != legs:
            for leg, entry in zip(legs, found, strict=True):
                if entry is not leg:
                    self.add(leg)

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
        if type(found) is dict:
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

    def forget(self, side: int, keys: Iterable[Any], known: Mapping[str, Known]) -> None:
        """Let spent values be new again, once who used them up is remembered no longer."""
        here = self.sides[side]
        for key in keys:
            holder = here.get(key)
            if type(holder) is str and type(known.get(holder)) is not Settled:
                if self._behind or self._aside:
                    self.free(side, key, holder)
                    self._aside.pop((side, key), None)
                else:
                    del here[key]

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
            if not ids:
                del self._aside[side, key]

    @property
    def aside(self) -> list[tuple[int, str]]:
        """Side and id of every duplicate noted."""
        return [(side, one) for (side, _), ids in self._aside.items() for one in ids]

    def alone(self, legs: list[Leg]) -> list[Leg]:
        """See `Pool.alone`."""
        alone = super().alone(legs)
        if not self.contests:
            return alone
        return [leg for leg in alone if not self.is_contested(leg.keys[self._slot])]

    @property
    def contests(self) -> bool:
        """Whether anybody has brought any value that was used up."""
        return bool(self._behind or self._aside)

    def is_contested(self, key: Any) -> bool:
        """Whether anybody has brought a value that was used up."""
        places = (0, key), (1, key)
        return any(one in self._behind or one in self._aside for one in places)

    def noted_aside(self, side: int, key: Any) -> Sequence[str]:
        """The duplicates of a value."""
        return self._aside.get((side, key), ())
