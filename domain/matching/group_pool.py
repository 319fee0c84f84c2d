"""Finding the legs that a rule with a many side looks for groups among."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

from domain.matching.compiled import BOTH, CompiledRule
from domain.matching.legs import OPEN, Leg
from domain.matching.pools import NOTHING_KNOWN, Found

# Legs that are looked through for groups, with a key in common and without: every look at one of
# them goes through all.
KEYED_MAX: Final = 20_000
UNKEYED_MAX: Final = 2_000
#: Why no group was searched where more are open.
CROWDED: Final = (
    f"no group was searched: the bound was hit by more than {KEYED_MAX:,} open transactions with "
    f"one key, or {UNKEYED_MAX:,} where no condition gives a key"
)

_Sides = tuple[dict[Leg, None], dict[Leg, None]]


class GroupPool:
    """Legs by the value of a rule's equality conditions, or by currency where it has none."""

    def __init__(self, rule: CompiledRule) -> None:
        self._rule = rule
        self._most = KEYED_MAX if rule.has_key else UNKEYED_MAX
        self._sides: dict[Any, _Sides] = {}

    def _key(self, leg: Leg) -> Any:
        if self._rule.has_key:
            return leg.keys[self._rule.slot]
        value = self._rule.value_of(leg)
        return None if value is None else value[0]

    def add(self, leg: Leg) -> None:
        """See `Pool.add`."""
        key = self._key(leg)
        if key is not None:
            sides = self._sides.get(key)
            if sides is None:
                sides = self._sides[key] = ({}, {})
            sides[leg.side][leg] = None

    def add_all(self, legs: Sequence[Leg]) -> None:
        """See `Pool.add_all`."""
        for leg in legs:
            self.add(leg)

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        key = self._key(leg)
        sides = self._sides.get(key)
        if sides is not None:
            sides[leg.side].pop(leg, None)
            if not sides[0] and not sides[1]:
                del self._sides[key]

    def around(self, leg: Leg, known: Mapping[Leg, Found] = NOTHING_KNOWN) -> Found | None:  # noqa: ARG002 - of the protocol
        """See `Pool.around`."""
        key = self._key(leg)
        if key is None:
            return None
        sources, targets = self._sides.get(key, ({}, {}))
        if len(sources) + len(targets) > self._most:
            return Found(key, [leg], [], too_many=True)
        return Found(key, list(sources), list(targets))

    def place(self, leg: Leg) -> Hashable:
        """See `Pool.place`."""
        key: Hashable = self._key(leg)
        return key

    def beside(self, gone: Leg) -> Iterable[Leg]:
        """See `Pool.beside`."""
        sides = self._sides.get(self._key(gone))
        if sides is None or len(sides[0]) + len(sides[1]) > self._most:
            return ()
        if self._rule.rule.whole_key is not None:
            # Each member of the whole side is in every candidate.
            whole = sides[0 if self._rule.many_side == BOTH else self._rule.many_side or 0]
            first = next((leg for leg in whole if leg.rule == OPEN), None)
            return () if first is None else (first,)
        # Every candidate has a source, and where only one target may be in it that target.
        return list(sides[1 if self._rule.many_side == 0 else 0])

    def fellows(self, leg: Leg) -> Collection[Leg]:
        """See `Pool.fellows`."""
        sides = self._sides.get(self._key(leg)) if self._rule.has_key else None
        return () if sides is None else sides[1 - leg.side]
