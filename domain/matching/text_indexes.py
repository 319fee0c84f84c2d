"""Indexes by parts of a text: tokens, and grams of letters.

Both rest on a count. A source whose tokens all stand in the target shares its rarest one. Two texts
that few edits lead from one to the other share all grams but the few an edit destroys (the q-gram
lemma of Jokinen and Ukkonen, 1991), so that of any set of grams larger than that number one is
shared; the search takes the rarest.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import lru_cache
from itertools import chain, count
from typing import Final

from domain.matching.indexes import Index, Search
from domain.matching.keys import TextTest
from domain.matching.legs import Leg
from domain.matching.texts import similarity_distance

# Long grams tell texts apart better, and short ones are left after more edits: a search takes what
# gives least. The first pair is for texts that are nearly equal.
_GRAMS_NEAR: Final = (5, 3)
_GRAMS_FAR: Final = (3, 2)
_NEAR_EDITS: Final = 2
_NEAR_SIMILARITY_PERCENT: Final = 90


class _Postings:
    """Part of a text → the legs whose text has it."""

    def __init__(self, parts: Callable[[Leg], Iterable[str]]) -> None:
        self._parts = parts
        self._legs: dict[str, dict[Leg, None]] = defaultdict(dict)

    def add(self, leg: Leg) -> None:
        """See `Index.add`."""
        for part in self._parts(leg):
            self._legs[part][leg] = None

    def discard(self, leg: Leg) -> None:
        """See `Index.discard`."""
        for part in self._parts(leg):
            legs = self._legs.get(part)
            if legs is not None:
                legs.pop(leg, None)
                if not legs:
                    del self._legs[part]

    def with_any(self, parts: Iterable[str]) -> Search:
        """The legs that have one of some parts."""
        lists = [legs for part in parts if (legs := self._legs.get(part)) is not None]
        return Search(sum(map(len, lists)), lambda: dict.fromkeys(chain.from_iterable(lists)))

    def rarest(self, parts: Iterable[str], how_many: int) -> list[str]:
        """The parts that fewest legs have."""
        return sorted(parts, key=lambda part: (len(self._legs.get(part, ())), part))[:how_many]


class TokenIndex(_Postings):
    """For `token_run` and `token_set`, which both need every token of the source in the target.

    Targets are filed under all their tokens, sources under their longest alone: it has to be among
    the target's, and long tokens are rarer.
    """

    def __init__(self, slot: int) -> None:
        self._slot = slot
        super().__init__(self._filed_under)

    def _tokens(self, leg: Leg) -> Iterable[str]:
        form: str | frozenset[str] | None = leg.keys[self._slot]
        if form is None:
            return ()
        return set(form.split()) if isinstance(form, str) else form

    def _filed_under(self, leg: Leg) -> Iterable[str]:
        tokens = self._tokens(leg)
        if leg.side == 1 or not tokens:
            return tokens
        return (max(tokens, key=lambda token: (len(token), token)),)

    def search(self, leg: Leg) -> Search | None:
        """See `Index.search`."""
        tokens = self._tokens(leg)
        return self.with_any(self.rarest(tokens, 1) if leg.side == 0 else tokens)


class GramIndex(_Postings):
    """For `edit_distance` and `similarity`.

    Args:
        lost_most: Length of a text → the most of its grams that a candidate may lack.
    """

    def __init__(self, slot: int, gram: int, lost_most: Callable[[int], int]) -> None:
        self._slot = slot
        self._gram = gram
        self._lost_most = lru_cache(1024)(lost_most)
        super().__init__(self._filed_under)

    def _filed_under(self, leg: Leg) -> Iterable[str]:
        text: str | None = leg.keys[self._slot]
        if text is None:
            return ()
        gram = self._gram
        return {text[place : place + gram] for place in range(len(text) - gram + 1)}

    def search(self, leg: Leg) -> Search | None:
        """See `Index.search`."""
        text = leg.keys[self._slot]
        if text is None:
            return self.with_any(())
        gram = self._gram
        grams = [text[place : place + gram] for place in range(len(text) - gram + 1)]
        needed = self._lost_most(len(text)) + 1
        if needed > len(grams):
            return None  # a candidate may share no gram at all
        # Equal grams count each: so many places have to be looked at, not so many different grams.
        chosen = self.rarest(grams, needed)
        return self.with_any(set(chosen))


def _lost_by_edits(edits: int, gram: int) -> Callable[[int], int]:
    return lambda _length: edits * gram


def _lost_by_similarity(minimum: Decimal, gram: int) -> Callable[[int], int]:
    def lost(length: int) -> int:
        """The most grams lost to any text similar enough.

        Of d letters in which the two differ those deleted lose `gram` grams each, those inserted
        one less.
        """
        most = 0
        for other in count(1):
            distance = similarity_distance(minimum, length + other)
            if distance >= abs(length - other):
                deleted = (distance + length - other) // 2
                most = max(most, deleted * gram + (distance - deleted) * (gram - 1))
            elif other > length:
                break  # from here on the lengths alone are too different
            if most >= length:
                break  # more than there are
        return most

    return lost


def text_indexes(test: TextTest) -> list[Index]:
    """The indexes for one condition that equality cannot decide."""
    condition, slot = test.condition, test.slot
    if condition.operator in ("token_run", "token_set"):
        return [TokenIndex(slot)]
    edits = condition.maximum
    if condition.operator == "edit_distance":
        assert edits is not None
        grams = _GRAMS_NEAR if edits <= _NEAR_EDITS else _GRAMS_FAR
        return [GramIndex(slot, gram, _lost_by_edits(edits, gram)) for gram in grams]
    minimum = condition.minimum
    assert minimum is not None
    grams = _GRAMS_NEAR if minimum * 100 >= _NEAR_SIMILARITY_PERCENT else _GRAMS_FAR
    return [GramIndex(slot, gram, _lost_by_similarity(minimum, gram)) for gram in grams]
