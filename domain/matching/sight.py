"""What the pools show during one step, each connected set followed once."""

from domain.matching.legs import Leg
from domain.matching.pools import Found, Pool

# Smaller sets are found again faster than they are remembered.
_SMALL = 8


class Sight:
    """Asks pools who stands around a leg, and remembers the larger answers.

    Taking a match changes no other outcome of a step, so neither does a set seen before it.
    """

    def __init__(self, pools: list[Pool]) -> None:
        self._pools = pools
        self._seen: list[dict[Leg, Found]] = [{} for _ in pools]

    def forget(self) -> None:
        """Look anew from here on."""
        for seen in self._seen:
            seen.clear()

    def around(self, index: int, leg: Leg) -> Found | None:
        """The legs that `leg` may be a candidate with under rule number `index`."""
        seen = self._seen[index]
        found = seen.get(leg) if seen else None
        if found is None:
            found = self._pools[index].around(leg, seen)
            if found is not None and len(found.sources) + len(found.targets) > _SMALL:
                seen.update(dict.fromkeys(found.sources, found))
                seen.update(dict.fromkeys(found.targets, found))
        return found
