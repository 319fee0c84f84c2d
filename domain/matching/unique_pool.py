"""Where the legs of a rule wait whose value may occur once per side.

Both sides stand in one table. Most values are brought by one leg and then by its counterpart: two
tables would be asked and written twice as often, and hold every value twice.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Known, Leg, Settled
from domain.matching.pools import ByKey, legs_under
from domain.packed_content import decode_packed

#: What stands under a value of a side: a leg, several, or the id of the one that used it up.
SideEntry = Leg | dict[Leg, None] | str
#: What stands under a value: a leg whose other side is empty; the match whose only two members used
#: it up; or whatever else stands on either side.
_Entry = Leg | Settled | list[SideEntry | None]


class UniquePool(ByKey):
    """Legs by a value that may occur once per side.

    Once its leg has matched a value is spent: the id of that transaction then stands in the leg's
    place, and whoever brings the value again is a duplicate of it.
    """

    def __init__(self, rule: CompiledRule) -> None:
        super().__init__(rule)
        #: For the short ways, which do here by the column what is done below one by one.
        self.table: dict[Any, _Entry] = {}
        # Open legs whose value is spent: they cannot be found until it is free again.
        self._behind: dict[tuple[int, Any], list[Leg]] = {}
        # Ids of duplicates by the value they brought again.
        self._aside: dict[tuple[int, Any], list[str]] = {}

    def on(self, side: int, key: Any) -> SideEntry | None:
        """What stands under a value of a side."""
        found = self.table.get(key)
        if isinstance(found, Leg):
            return found if found.side == side else None
        if isinstance(found, Settled):
            return decode_packed(found.packed(side)[0]).transaction_id
        return None if found is None else found[side]

    def put(self, side: int, key: Any, entry: SideEntry | None) -> None:
        """Let something stand under a value of a side, or nothing any more."""
        other = self.on(1 - side, key)
        source, target = (other, entry) if side else (entry, other)
        if source is None and target is None:
            self.table.pop(key, None)
        elif type(entry) is Leg and other is None:
            self.table[key] = entry
        elif type(other) is Leg and entry is None:
            self.table[key] = other
        else:
            self.table[key] = [source, target]

    def add(self, leg: Leg) -> None:
        """See `Pool.add`; a leg whose value is spent is not filed, its look sets it aside."""
        key = leg.keys[self._slot]
        if key is None:
            return
        found = self.on(leg.side, key)
        if found is None:
            self.put(leg.side, key, leg)
        elif type(found) is str:
            self._behind.setdefault((leg.side, key), []).append(leg)
        elif type(found) is dict:
            found[leg] = None
        elif found is not leg:
            assert isinstance(found, Leg)
            self.put(leg.side, key, {found: None, leg: None})

    def add_all(self, legs: Sequence[Leg]) -> None:
        """See `Pool.add_all`."""
        slot = self._slot
        keys = [leg.keys[slot] for leg in legs]
        if None in keys:
            for leg in legs:
                self.add(leg)
            return
        table = self.table
        if list(map(table.setdefault, keys, legs)) == legs:
            return
        for leg, key in zip(legs, keys, strict=True):
            entry = table[key]
            if entry is leg:
                continue
            if isinstance(entry, Leg) and entry.side != leg.side:
                table[key] = [entry, leg] if leg.side else [leg, entry]
            else:
                self.add(leg)

    def discard(self, leg: Leg) -> None:
        """See `Pool.discard`."""
        key = leg.keys[self._slot]
        behind = self._behind.get((leg.side, key)) if self._behind else None
        if behind is not None and leg in behind:
            behind.remove(leg)
            if not behind:
                del self._behind[leg.side, key]
            return
        found = None if key is None else self.on(leg.side, key)
        if found is leg:
            self.put(leg.side, key, None)
        elif type(found) is dict:
            found.pop(leg, None)
            if len(found) == 1:
                (alone,) = found
                self.put(leg.side, key, alone)

    def alone(self, legs: list[Leg]) -> list[Leg]:
        """See `Pool.alone`."""
        slot, found = self._slot, self.table.get
        alone = [leg for leg in legs if (key := leg.keys[slot]) is None or found(key) is leg]
        if not self.contests:
            return alone
        return [leg for leg in alone if not self.is_contested(leg.keys[slot])]

    def legs_on(self, side: int, key: Any) -> Collection[Leg]:
        """See `ByKey.legs_on`."""
        found = self.on(side, key)
        return () if isinstance(found, str) else legs_under(found)

    # -- values used up --

    def spend(self, leg: Leg, key: Any) -> None:
        """Take `leg` out for good: its value, `key`, is used up."""
        found = self.on(leg.side, key)
        if type(found) is str:
            self.discard(leg)  # used up before; it stays with who did
            return
        self.put(leg.side, key, leg.transaction_id)
        if type(found) is dict:
            behind = self._behind.setdefault((leg.side, key), [])
            behind += [one for one in found if one is not leg]

    def spend_pairs(self, keys: Sequence[Any], matches: Sequence[Settled]) -> None:
        """Let matches of one and one have used values up, whoever waited under them."""
        self.table.update(zip(keys, matches, strict=True))

    def free(self, side: int, key: Any, holder: str) -> None:
        """Let a value be new again if `holder` used it up."""
        if self.on(side, key) == holder:
            self.put(side, key, None)
            for leg in self._behind.pop((side, key), ()):
                self.add(leg)

    def spent_by(self, side: int, key: Any) -> str | None:
        """The id of the transaction that used a value up, None while nobody has."""
        found = self.on(side, key)
        return found if isinstance(found, str) else None

    def spent(self, side: int) -> Iterator[tuple[Any, str]]:
        """Every value that is used up on a side, and the id of who did."""
        for key in self.table:
            holder = self.spent_by(side, key)
            if holder is not None:
                yield key, holder

    def forget(self, side: int, keys: Iterable[Any], known: Mapping[str, Known]) -> None:
        """Let spent values be new again, once who used them up is remembered no longer."""
        for key in keys:
            holder = self.on(side, key)
            if type(holder) is str and type(known.get(holder)) is not Settled:
                self.free(side, key, holder)
                self._aside.pop((side, key), None)

    # -- duplicates --

    def set_aside(self, side: int, key: Any, transaction_id: str) -> None:
        """Note a duplicate, which is not found here any more."""
        self._aside.setdefault((side, key), []).append(transaction_id)

    def aside_from(self, side: int, key: Any) -> list[str]:
        """The duplicates of a value that nobody holds any more; none while one does."""
        return [] if self.on(side, key) is not None else self._aside.get((side, key), [])

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

    def noted_aside(self, side: int, key: Any) -> Sequence[str]:
        """The duplicates of a value."""
        return self._aside.get((side, key), ())

    @property
    def contests(self) -> bool:
        """Whether anybody has brought any value that was used up."""
        return bool(self._behind or self._aside)

    def is_contested(self, key: Any) -> bool:
        """Whether anybody has brought a value that was used up."""
        places = (0, key), (1, key)
        return any(one in self._behind or one in self._aside for one in places)
