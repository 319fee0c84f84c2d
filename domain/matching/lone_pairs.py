"""The short way of a look: most legs stand alone with one other under a key, or quite alone.

What is done in short here is what `Settling.look` does at length. Whoever needs more than that,
rivals, suggestions, exceptions, goes the long way.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from domain.events import Compared, RecordMatched
from domain.matching.due import SECOND_US
from domain.matching.legs import MATCHED, OPEN, PENDING, Leg, Settled
from domain.matching.pair_pool import PairPool
from domain.matching.selection import stated

if TYPE_CHECKING:
    from domain.matching.settling import Settling

# Pairs told together: what is done for many at once costs less for each, up to about here.
_TOGETHER_MAX = 512

_instant = attrgetter("occurred_at")


class LonePairs:
    """Takes pairs by a first rule that has a key and settles.

    Args:
        settling: The step, in which event time may decide.
        watermark_us: Event time.
    """

    def __init__(self, settling: "Settling", pool: PairPool, watermark_us: int) -> None:
        self._settling = settling
        self._book = book = settling.book
        self._rule = book.rules[0]
        self._pool = pool
        self._now = watermark_us // SECOND_US
        self._looks = book.looks
        self._alone = len(book.rules) == 1
        self._sources: list[Leg] = []
        self._targets: list[Leg] = []
        self._found_by_key = any(rule.has_key for rule in book.rules[1:])

    @classmethod
    def of(cls, settling: "Settling", watermark_us: int) -> "LonePairs | None":
        """The short way through a step; None where there is none."""
        rule, pool = settling.book.rules[0], settling.book.pools[0]
        if not isinstance(pool, PairPool) or not rule.has_key or rule.suggests or rule.immediate:
            return None
        return cls(settling, pool, watermark_us)

    def take(self, legs: list[Leg]) -> list[Leg]:
        """Decide about legs that are due; return those that go the long way, in their order.

        Until `close`, or until some have to go it, pairs are taken but not told.
        """
        # Else no open exception can name one of them as a candidate.
        may_be_named = self._found_by_key and bool(self._book.exceptions)
        may_name = self._settling.cases.may_name
        slot, now, settle_us = self._rule.slot, self._now, self._rule.settle_us
        admits, plan = self._rule.admits, self._book.due.plan
        sides, crowds = self._pool.sides, self._pool.crowds
        left: list[Leg] = []
        sources, targets = self._sources, self._targets
        for leg in legs:
            if leg.rule != OPEN:
                continue
            key, side = leg.keys[slot], leg.side
            if leg.disposition != PENDING or sides[side].get(key) is not leg or key in crowds:
                left.append(leg)
                continue
            other = sides[1 - side].get(key)
            if other is None and self._alone:
                self._wait(leg, left)
                continue
            if type(other) is not Leg or other.disposition != PENDING or other.rule != OPEN:
                left.append(leg)
                continue
            source, target = (other, leg) if side else (leg, other)
            if not admits(source, target) or (
                may_be_named and (may_name(source) or may_name(target))
            ):
                left.append(leg)
                continue
            newest, theirs = leg.occurred_at, other.occurred_at
            if theirs > newest:
                newest = theirs
            if (newest + settle_us) // SECOND_US < now:
                source.rule = target.rule = 0
                sources.append(source)
                targets.append(target)
            else:
                plan(leg, newest + settle_us)
        if left or len(sources) >= _TOGETHER_MAX:
            self.close()
        return left

    def close(self) -> None:
        """Record what was taken; others may look around only after that."""
        if self._sources:
            sources, self._sources = self._sources, []
            targets, self._targets = self._targets, []
            self._confirm(sources, targets)

    def _wait(self, leg: Leg, left: list[Leg]) -> None:
        """Plan the next look at a leg that nobody is there for; its exception is a long way."""
        for age in self._looks:
            if (leg.occurred_at + age) // SECOND_US >= self._now:
                self._book.due.plan(leg, leg.occurred_at + age)
                return
        left.append(leg)

    def _confirm(self, sources: list[Leg], targets: list[Leg]) -> None:
        """Record pairs as final and close their members."""
        source_ids = [leg.transaction_id for leg in sources]
        target_ids = [leg.transaction_id for leg in targets]
        newest_ms = [
            (max(other, one)) // 1000
            for one, other in zip(map(_instant, sources), map(_instant, targets), strict=True)
        ]
        rule = self._rule
        comparison = rule.comparison
        told: Sequence[Iterable[Any]] = (
            [leg.currency for leg in sources],
            [leg.amount_minor for leg in sources],
            [leg.amount_minor for leg in targets],
        )
        compared: Iterable[Compared | None] = repeat(None)
        if not comparison.as_it_is or comparison.target_sign != 1:
            pairs = zip(sources, targets, strict=True)
            *told, compared = zip(
                *(stated(rule, (source,), (target,)) for source, target in pairs), strict=True
            )
            compared = list(compared)
        self._settling.events += map(
            RecordMatched,
            repeat(rule.name),
            repeat("one_to_one"),
            repeat(self._settling.definition_version),
            zip(source_ids),
            zip(target_ids),
            *told,
            newest_ms,
            compared,
        )
        theirs = [leg.packed for leg in sources], [leg.packed for leg in targets]
        settled = list(map(Settled, repeat(rule.name), newest_ms, *theirs, repeat(()), compared))
        known = self._book.known
        known[0].update(zip(source_ids, settled, strict=True))
        known[1].update(zip(target_ids, settled, strict=True))
        self._leave(sources, newest_ms)
        self._leave(targets, newest_ms)

    def _leave(self, legs: list[Leg], newest_ms: list[int]) -> None:
        """Let legs of one side, just matched, be found no longer."""
        book, slot = self._book, self._rule.slot
        here = self._pool.sides[legs[0].side]
        of_match = book.closed.of_match
        planned = 0
        for leg, newest in zip(legs, newest_ms, strict=True):
            del here[leg.keys[slot]]
            of_match(newest).ids[leg.side].append(leg.transaction_id)
            if leg.due:
                leg.due = 0
                planned += 1
            leg.disposition = MATCHED
            leg.packed = b""
        book.due.forgotten(planned)
        if self._alone:
            return
        for later in book.pools[1:]:
            for leg in legs:
                later.discard(leg)
        for leg in legs:
            book.stood_beside(leg, 1)
