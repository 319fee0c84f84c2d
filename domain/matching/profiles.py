"""Legs that a rule treats alike: what it asks of a pair is asked once for all of them.

Among ten thousand legs with one key there are mostly a handful of days and one currency. Whether
groups hold together is decided between these *profiles* rather than between legs.
"""

from collections.abc import Sequence
from typing import Any

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg

Profile = tuple[Any, ...]


def by_profile(rule: CompiledRule, legs: Sequence[Leg]) -> dict[Profile, list[Leg]]:
    """Gather legs by what a pair is judged by besides its key and amounts, in the order given.

    Legs that lack what the rule compares are left out.
    """
    slots = [text.slot for text in rule.texts] + [slot for slot, _ in rule.spans]
    if rule.rest_slot is not None:
        slots.append(rule.rest_slot)
    profiles: dict[Profile, list[Leg]] = {}
    for leg in legs:
        value = rule.value_of(leg)
        if value is not None:
            profile = (value[0], *[leg.keys[slot] for slot in slots])
            profiles.setdefault(profile, []).append(leg)
    return profiles


class Fitting:
    """Which profiles of the two sides fit together under a rule.

    Attributes:
        sources, targets: Legs by profile, in the order given.
    """

    def __init__(self, rule: CompiledRule, sources: Sequence[Leg], targets: Sequence[Leg]) -> None:
        self._rule = rule
        self.sources = by_profile(rule, sources)
        self.targets = by_profile(rule, targets)

    @property
    def pairs(self) -> int:
        """How many pairs of profiles there are to judge."""
        return len(self.sources) * len(self.targets)

    def fit(self, source: Profile, target: Profile) -> bool:
        """Whether a source and a target of these profiles can be in one match."""
        return self._rule.admits(self.sources[source][0], self.targets[target][0])

    def all_fit(self) -> bool:
        """Whether every source can be in one match with every target."""
        return all(self.fit(source, target) for source in self.sources for target in self.targets)

    def others(self, profile: Profile, side: int) -> list[Profile]:
        """The profiles of the other side that fit one of a side."""
        if side == 0:
            return [one for one in self.targets if self.fit(profile, one)]
        return [one for one in self.sources if self.fit(one, profile)]

    def blocks(self, most: int) -> list[tuple[list[Profile], list[Profile]]] | None:
        """The largest sets of profiles, source and target, that all fit together.

        Returns:
            Every group that holds together lies within one of them. None when there are more than
            `most`.
        """
        reach = {source: frozenset(self.others(source, 0)) for source in self.sources}
        # Each such set has the targets that some of the sources have in common.
        common: set[frozenset[Profile]] = set()
        for targets in dict.fromkeys(reach.values()):
            grown = {targets} | {targets & other for other in common}
            common |= {one for one in grown if one}
            if len(common) > most:
                return None
        return [
            (
                [source for source in self.sources if targets <= reach[source]],
                [target for target in self.targets if target in targets],
            )
            for targets in common
        ]
