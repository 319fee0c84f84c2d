"""Where open legs wait to be found, one pool per rule.

The cost of putting a leg in, taking it out and finding its fellows does not grow with what else is
open. A pool also keeps *rivals*: legs that a later rule has matched, which still count when this
rule asks whether a set is ambiguous or a group whole (`CompiledRule.remembers_rivals`).
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg

#: Both sides of what stands under one key: source legs and target legs.
Bucket = tuple[list[Leg], list[Leg]]
#: What stands under a key of a side.
Entry = Leg | dict[Leg, None]


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


class ByKey:
    """What is asked of a pool whose legs stand by the value of a rule's equality conditions."""

    def __init__(self, rule: CompiledRule) -> None:
        self._slot = rule.slot

    def legs_on(self, side: int, key: Any) -> Collection[Leg]:
        """The legs of a side that wait under a key."""
        raise NotImplementedError

    def bucket(self, key: Any) -> Bucket:
        """Both sides of one key."""
        return list(self.legs_on(0, key)), list(self.legs_on(1, key))

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
        return () if key is None else self.legs_on(1 - leg.side, key)


class KeyedPool(ByKey):
    """Legs by the value of a rule's equality conditions."""

    def __init__(self, rule: CompiledRule) -> None:
        super().__init__(rule)
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

    def legs_on(self, side: int, key: Any) -> Collection[Leg]:
        """See `ByKey.legs_on`."""
        return legs_under(self.sides[side].get(key))


def legs_under(found: Entry | None) -> Collection[Leg]:
    """The legs of an entry."""
    if isinstance(found, Leg):
        return (found,)
    return found or ()
