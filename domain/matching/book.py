"""The book of one reconciliation: what is open, what is known, and where to find it.

Every change of state is one of the methods here, so that deciding live and folding recorded events
do the very same things to it.
"""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest

from domain.definitions import Definition
from domain.matching.calendar import Calendar
from domain.matching.compiled import CompiledRule, KeyOf, compile_rules
from domain.matching.due import FIRST_LOOK, SECOND_US, DueQueue
from domain.matching.legs import DUPLICATE, EXCEPTION, MATCHED, OPEN, PENDING, SUGGESTED, Leg
from domain.matching.pair_pool import make_pool
from domain.matching.pools import Pool, UniquePool
from domain.transaction_columns import TransactionColumns
from domain.transactions import Transaction, unpack_transaction

_DAY_US = 86_400_000_000


class Suggestion(NamedTuple):
    """A standing suggestion; members in id order."""

    rule: str
    rule_index: int
    sources: tuple[Leg, ...]
    targets: tuple[Leg, ...]

    def lies_within(self, members: Iterable[Leg]) -> bool:
        """Whether all that it is about are among some legs."""
        return set(members).issuperset((*self.sources, *self.targets))


class Closed(NamedTuple):
    """What has to be forgotten of a day's closed transactions when ids of its age are.

    `pairs` has the values of matches by a unique first rule whose members are both of that day;
    the rule's pool knows whose they were.
    """

    ids: tuple[list[str], list[str]]
    spent: list[list[Any]]  # at 2 x rule + side: values used up
    rivals: list[Leg]
    pairs: list[Any]

    def spread(self, pool: Pool) -> None:
        """Turn pairs, made in the first rule's pool, into ids and spent values."""
        if not self.pairs:
            return
        assert isinstance(pool, UniquePool), "only a unique rule pairs off"
        for side in (0, 1):
            self.ids[side].extend(filter(None, (pool.spent_by(side, key) for key in self.pairs)))
            self.spent[side].extend(self.pairs)
        self.pairs.clear()


class Book:
    """State of matching under one definition.

    Attributes:
        known: Per side: transaction id → its leg while open, else a 64-bit hash of its content.
        exceptions: Open exceptions: leg → (category, ids of the candidates named with it).
        suggestions: Standing suggestions by match id.
        again: Legs whose surroundings changed, to be looked at in the same step.
        gone: (rule's number, place in its pool) → a leg that is found there no longer.
    """

    def __init__(self, definition: Definition) -> None:
        self.known: tuple[dict[str, Leg | int], dict[str, Leg | int]] = ({}, {})
        self.due = DueQueue()
        self.exceptions: dict[Leg, tuple[str, tuple[str, ...]]] = {}
        self.suggestions: dict[str, Suggestion] = {}
        self.again: list[Leg] = []
        self.gone: dict[tuple[int, Hashable], Leg] = {}
        self.closed: dict[int, Closed] = {}
        self._kept_from = -1 << 62
        self._last_day_us = 0, 0
        self.use(definition)
        self._last_closed = self.new_closed()

    def use(self, definition: Definition) -> None:
        """Compile a definition and file every open leg under it.

        Rivals and spent values belonged to the rules before and are dropped.
        """
        for closed in self.closed.values():
            closed.spread(self.pools[0])
        self.definition = definition
        self.rules: list[CompiledRule] = compile_rules(definition)
        self.pools: list[Pool] = [make_pool(rule) for rule in self.rules]
        self._rules_and_pools = list(zip(self.rules, self.pools, strict=True))
        readers = [rule.key_readers for rule in self.rules]
        # Where every rule has one place, keys are a plain sequence of reads.
        self._readers: tuple[list[KeyOf], list[KeyOf]] | None = (
            ([one[0] for one in readers if one], [one[1] for one in readers if one])
            if all(readers)
            else None
        )
        self.calendar = Calendar(definition.time_zone)
        window = definition.window
        settles = {rule.settle_us for rule in self.rules if not rule.immediate}
        #: Ages, in microseconds, at which a leg is looked at.
        self.looks: list[int] = sorted(settles | {window.wait_us})
        for closed in self.closed.values():
            closed.spent[:] = self.new_closed().spent
            closed.rivals.clear()
        tenant, reconciliation = definition.tenant_id, definition.reconciliation_id
        for side in self.known:
            for leg in side.values():
                if isinstance(leg, Leg) and leg.disposition != DUPLICATE:
                    transaction = unpack_transaction(leg.packed, tenant, reconciliation)
                    leg.keys = self.keys_of(transaction)
                    leg.occurred_at = self.event_time(transaction)
                    for pool in self.pools:
                        pool.add(leg)

    def keys_of(self, transaction: Transaction) -> tuple[Any, ...]:
        """What the rules look this transaction up by."""
        if self._readers is not None:
            readers = self._readers[transaction.side]
            if len(readers) == 1:
                return (readers[0](transaction),)
            return tuple([read(transaction) for read in readers])
        keys: list[Any] = []
        for rule in self.rules:
            keys += rule.keys(transaction, transaction.side)
        return tuple(keys)

    def event_time(self, transaction: Transaction) -> int:
        """Microseconds since the epoch; a bare date is the end of its day in our zone."""
        if transaction.is_date:
            return self.calendar.end_of_day(transaction.occurred_at)
        return transaction.occurred_at

    def event_times(self, records: TransactionColumns) -> list[int]:
        """Microseconds since the epoch of each, see `event_time`."""
        if not any(records.are_dates):
            return records.occurred_at
        end_of_day = self.calendar.end_of_day
        return [
            end_of_day(instant) if is_date else instant
            for instant, is_date in zip(records.occurred_at, records.are_dates, strict=True)
        ]

    def put_in(self, leg: Leg) -> None:
        """File a new leg everywhere it can be found, and plan the first look at it."""
        self.known[leg.side][leg.transaction_id] = leg
        for pool in self.pools:
            pool.add(leg)
        self.due.plan(leg, leg.occurred_at + self.looks[0])

    def due_second(self, leg: Leg) -> int:
        """The second of event time a leg's next look is planned for, 0 if none."""
        if leg.due == FIRST_LOOK:
            return (leg.occurred_at + self.looks[0]) // SECOND_US + 1
        return leg.due

    def put_back(self, leg: Leg, due: int) -> None:
        """File a leg of a snapshot, due in that second of event time (0: in none)."""
        self.known[leg.side][leg.transaction_id] = leg
        for pool in self.pools:
            pool.add(leg)
        if due:
            self.due.plan(leg, (due - 1) * SECOND_US)

    def put_back_rival(self, leg: Leg) -> None:
        """File a leg that a rule has matched where earlier rules still count it."""
        leg.disposition = MATCHED
        for rule, pool in zip(self.rules, self.pools, strict=True):
            if rule.index < leg.rule and rule.remembers_rivals and not rule.unique:
                pool.add(leg)
        self.closed_on(leg.occurred_at).rivals.append(leg)

    def leg_of(self, transaction: Transaction) -> Leg:
        """A new leg for a transaction, not filed yet."""
        return Leg(
            transaction.transaction_id,
            transaction.side,
            transaction.amount_minor,
            transaction.currency,
            self.event_time(transaction),
            self.keys_of(transaction),
            transaction.packed,
        )

    def open_leg(self, side: int, transaction_id: str) -> Leg:
        """The leg of an open transaction that a recorded event names."""
        leg = self.known[side][transaction_id]
        assert isinstance(leg, Leg), f"{transaction_id} is closed, yet an event takes it"
        return leg

    def new_closed(self) -> Closed:
        """A day without anything closed."""
        return Closed(([], []), [[] for _ in range(2 * len(self.rules))], [], [])

    def closed_on(self, occurred_at: int) -> Closed:
        """What is kept of the closed transactions of a day of event time."""
        begin, end = self._last_day_us
        if begin <= occurred_at < end:
            return self._last_closed
        day = occurred_at // _DAY_US
        closed = self.closed.get(day)
        if closed is None:
            closed = self.closed[day] = self.new_closed()
        self._last_day_us = day * _DAY_US, (day + 1) * _DAY_US
        self._last_closed = closed
        return closed

    def _close_known(self, leg: Leg, closed: Closed) -> None:
        """Keep of a leg only what recognises its redelivery."""
        self.known[leg.side][leg.transaction_id] = xxh3_64_intdigest(leg.packed)
        closed.ids[leg.side].append(leg.transaction_id)

    def pair_off(
        self,
        side: int,
        ids: list[str],
        packed: list[bytes],
        instants: list[int],
        keys: list[Any],
        others: list[Leg],
    ) -> int:
        """Close legs and their counterparts that were never filed: pairs by a unique first rule.

        The same as filing each counterpart and taking both out, without the detour.

        Args:
            side: The counterparts' side; the lists have one value for each of them.
            others: The legs, one for each.

        Returns:
            For how many legs a look was planned; the caller tells the queue that they need none.
        """
        pool = self.pools[0]
        assert isinstance(pool, UniquePool)
        other_ids = [other.transaction_id for other in others]
        self.known[side].update(zip(ids, map(xxh3_64_intdigest, packed), strict=True))
        pool.sides[side].update(zip(keys, ids, strict=True))
        self.known[1 - side].update(
            zip(other_ids, [xxh3_64_intdigest(other.packed) for other in others], strict=True)
        )
        pool.sides[1 - side].update(zip(keys, other_ids, strict=True))
        self._close_pairs(side, ids, instants, keys, others)
        planned = 0
        for other in others:
            if other.due:
                other.due = 0
                planned += 1
            other.rule = 0
            other.disposition = MATCHED
            other.packed = b""
        for later in self.pools[1:]:
            for other in others:
                later.discard(other)
        return planned

    def _close_pairs(
        self, side: int, ids: list[str], instants: list[int], keys: list[Any], others: list[Leg]
    ) -> None:
        """Note pairs as closed on the days of their members."""
        other_instants = [other.occurred_at for other in others]
        closed = self.closed_on(instants[0])
        begin, end = self._last_day_us
        if begin <= min(*instants, *other_instants) <= max(*instants, *other_instants) < end:
            closed.pairs.extend(keys)
            return
        for one_id, instant, other, key in zip(ids, instants, others, keys, strict=True):
            closed, other_closed = self.closed_on(instant), self.closed_on(other.occurred_at)
            if closed is other_closed:
                closed.pairs.append(key)
                continue
            closed.ids[side].append(one_id)
            closed.spent[side].append(key)
            other_closed.ids[1 - side].append(other.transaction_id)
            other_closed.spent[1 - side].append(key)

    def take_out(self, leg: Leg, by_rule: int) -> None:
        """Close a leg that rule number `by_rule` matched."""
        closed = self.closed_on(leg.occurred_at)
        self._close_known(leg, closed)
        self.due.forget(leg)
        if leg.disposition == EXCEPTION:
            del self.exceptions[leg]
        leg.rule = by_rule
        leg.disposition = MATCHED
        stays = False
        for index, (rule, pool) in enumerate(self._rules_and_pools):
            if type(pool) is UniquePool and index <= by_rule:
                key = leg.keys[rule.slot]
                if key is not None:
                    pool.spend(leg, key)
                    closed.spent[2 * index + leg.side].append(key)
            elif index < by_rule and rule.remembers_rivals:
                stays = True
            else:
                pool.discard(leg)
        if stays:
            closed.rivals.append(leg)
        else:
            leg.packed = b""

    def set_duplicate(self, leg: Leg) -> None:
        """Set a leg aside as a second occurrence of a unique value."""
        self._close_known(leg, self.closed_on(leg.occurred_at))
        self.due.forget(leg)
        self.exceptions.pop(leg, None)
        leg.disposition = DUPLICATE
        for pool in self.pools:
            pool.discard(leg)
        leg.packed = b""

    def open_exception(self, leg: Leg, category: str, candidates: tuple[str, ...]) -> None:
        """Note that an exception stands open for `leg`."""
        leg.disposition = EXCEPTION
        self.due.forget(leg)
        self.exceptions[leg] = (category, candidates)

    def suggest(self, suggestion_id: str, suggestion: Suggestion) -> None:
        """Note a standing suggestion; its members' exceptions close."""
        self.suggestions[suggestion_id] = suggestion
        for leg in (*suggestion.sources, *suggestion.targets):
            leg.disposition = SUGGESTED
            leg.suggestions = (*leg.suggestions, suggestion_id)
            self.exceptions.pop(leg, None)

    def withdraw(self, suggestion_id: str) -> Suggestion:
        """Drop a standing suggestion; members it leaves without another are pending again."""
        suggestion = self.suggestions.pop(suggestion_id)
        for leg in (*suggestion.sources, *suggestion.targets):
            leg.suggestions = tuple(one for one in leg.suggestions if one != suggestion_id)
            if not leg.suggestions and leg.rule == OPEN and leg.disposition == SUGGESTED:
                leg.disposition = PENDING
                self.again.append(leg)
        return suggestion

    def beside_gone(self) -> Iterator[Leg]:
        """Who was decided upon while a leg was left over to a later rule that no longer is.

        Without it a set may be unambiguous, or a group whole, that was not before.
        """
        for (index, _), gone in self.gone.items():
            for leg in self.pools[index].beside(gone):
                # Before its first look nothing has been decided about a leg.
                first_look = (leg.occurred_at + self.looks[0]) // SECOND_US + 1
                if leg.rule == OPEN and leg.due not in (FIRST_LOOK, first_look):
                    yield leg

    def forget_before(self, instant_us: int) -> None:
        """Forget ids, spent values and rivals of days that ended before `instant_us`."""
        last_day = instant_us // _DAY_US
        if not self.closed or last_day <= self._kept_from:
            return
        self._kept_from = last_day
        self._last_day_us = 0, 0
        for day in [day for day in self.closed if day < last_day]:
            closed = self.closed.pop(day)
            closed.spread(self.pools[0])
            for side, ids in enumerate(closed.ids):
                known = self.known[side]
                for transaction_id in ids:
                    if isinstance(known.get(transaction_id), int):
                        del known[transaction_id]
            for place, keys in enumerate(closed.spent):
                pool = self.pools[place // 2]
                if isinstance(pool, UniquePool):
                    for key in keys:
                        pool.forget(place % 2, key)
            for leg in closed.rivals:
                for rule, pool in zip(self.rules, self.pools, strict=True):
                    if rule.index < leg.rule and rule.remembers_rivals:
                        pool.discard(leg)
