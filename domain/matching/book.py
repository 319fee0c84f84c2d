"""The book of one reconciliation: what is open, what is known, and where to find it.

Every change of state is one of the methods here, so that deciding live and folding recorded events
do the very same things to it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from domain.definitions import Definition
from domain.matching.calendar import Calendar
from domain.matching.compiled import CompiledRule, KeyOf, compile_rules
from domain.matching.due import SECOND_US, DueQueue
from domain.matching.legs import (
    DUPLICATE,
    EXCEPTION,
    MATCHED,
    OPEN,
    PENDING,
    PERSON,
    SUGGESTED,
    Known,
    Leg,
    Settled,
)
from domain.matching.pools import Pool, UniquePool, make_pool
from domain.matching.refusals import Refusal, Refusals
from domain.transactions import Transaction, unpack_transaction

_DAY_US = 86_400_000_000


class Suggestion(NamedTuple):
    """A standing suggestion; members in id order. `single`: all of them are one possible match."""

    rule: str
    rule_index: int
    sources: tuple[Leg, ...]
    targets: tuple[Leg, ...]
    single: bool

    def lies_within(self, members: tuple[Leg, ...]) -> bool:
        """Whether all its members are among `members`."""
        return all(leg in members for leg in (*self.sources, *self.targets))


class Closed(NamedTuple):
    """What has to be forgotten of a day's closed transactions when ids of its age are."""

    ids: tuple[list[str], list[str]]
    spent: list[list[Any]]  # at 2 x rule + side: values used up
    rivals: dict[Leg, None]


class Book:
    """State of matching under one definition.

    Attributes:
        known: Per side: transaction id → its leg while open, else what became of it.
        exceptions: Open exceptions: leg → (category, ids of the candidates named with it).
        suggestions: Standing suggestions by match id.
        refusals: What people have rejected or reversed.
        again: Legs whose surroundings changed, to be looked at in the same step.
    """

    def __init__(self, definition: Definition) -> None:
        self.known: tuple[dict[str, Known], dict[str, Known]] = ({}, {})
        self.due = DueQueue()
        self.exceptions: dict[Leg, tuple[str, tuple[str, ...]]] = {}
        self.suggestions: dict[str, Suggestion] = {}
        self.refusals = Refusals()
        self.again: list[Leg] = []
        self.closed: dict[int, Closed] = {}
        self._last_day = self._kept_from = -1 << 62
        self.use(definition)
        self._last_closed = self.new_closed()

    def use(self, definition: Definition) -> None:
        """Compile a definition and file every open leg under it.

        Rivals and spent values belonged to the rules before and are dropped.
        """
        self.definition = definition
        self.rules: list[CompiledRule] = compile_rules(definition)
        self.pools: list[Pool] = [make_pool(rule) for rule in self.rules]
        self._rules_and_pools = list(zip(self.rules, self.pools, strict=True))
        self.refusals.tell(self.rules)
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

    def put_in(self, leg: Leg) -> None:
        """File a new leg everywhere it can be found, and plan the first look at it."""
        self.known[leg.side][leg.transaction_id] = leg
        for pool in self.pools:
            pool.add(leg)
        self.due.plan(leg, leg.occurred_at + self.looks[0])

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
        for pool in self._rival_pools(leg):
            pool.add(leg)
        self._note_rival(leg)

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
        return Closed(([], []), [[] for _ in range(2 * len(self.rules))], {})

    def closed_on(self, occurred_at: int) -> Closed:
        """What is kept of the closed transactions of a day of event time."""
        day = occurred_at // _DAY_US
        if day == self._last_day:
            return self._last_closed
        closed = self.closed.get(day)
        if closed is None:
            closed = self.closed[day] = self.new_closed()
        self._last_day, self._last_closed = day, closed
        return closed

    def pair_off(
        self,
        other: Leg,
        transaction_id: str,
        packed: bytes,
        occurred_at: int,
        key: Any,
        newest_ms: int,
    ) -> None:
        """Close a leg and its counterpart that was never filed: a match by the unique first rule.

        The same as filing the counterpart and taking both out, without the detour.
        """
        mine, theirs = 1 - other.side, other.side
        pool = self.pools[0]
        assert isinstance(pool, UniquePool)
        name = self.rules[0].name
        settled = (
            Settled(name, newest_ms, packed, other.packed)
            if mine == 0
            else Settled(name, newest_ms, other.packed, packed)
        )
        closed = self.closed_on(occurred_at)
        self.known[mine][transaction_id] = settled
        pool.sides[mine][key] = transaction_id
        closed.ids[mine].append(transaction_id)
        closed.spent[mine].append(key)
        other_id = other.transaction_id
        closed = self.closed_on(other.occurred_at)
        self.known[theirs][other_id] = settled
        pool.sides[theirs][key] = other_id
        closed.ids[theirs].append(other_id)
        closed.spent[theirs].append(key)
        self.due.forget(other)
        other.rule = 0
        other.disposition = MATCHED
        other.packed = b""
        for later in self.pools[1:]:
            later.discard(other)

    def take_out(
        self,
        sources: Sequence[Leg],
        targets: Sequence[Leg],
        rule: str,
        by_rule: int,
        newest_ms: int,
    ) -> None:
        """Close the members of a match.

        Args:
            sources, targets: In id order.
            rule: The match's rule, by name.
            by_rule: The rule's number, or PERSON: people's matches come before every rule, so that
                no rule counts their members any more.
            newest_ms: The match's, for its identity.
        """
        settled = Settled(rule, newest_ms, _packed(sources), _packed(targets))
        for leg in (*sources, *targets):
            closed = self.closed_on(leg.occurred_at)
            self.known[leg.side][leg.transaction_id] = settled
            closed.ids[leg.side].append(leg.transaction_id)
            self.due.forget(leg)
            if leg.disposition == EXCEPTION:
                del self.exceptions[leg]
            leg.rule = by_rule
            leg.disposition = MATCHED
            if self._leave_pools(leg, by_rule, closed):
                self._note_rival(leg)
            else:
                leg.packed = b""

    def _leave_pools(self, leg: Leg, by_rule: int, closed: Closed) -> bool:
        """Let a taken leg be found no longer; say whether earlier rules go on to count it."""
        stays = False
        for index, (rule, pool) in enumerate(self._rules_and_pools):
            if type(pool) is UniquePool and index <= by_rule:
                key = leg.keys[rule.slot]
                if key is not None:
                    pool.spend(leg, key)
                    closed.spent[2 * index + leg.side].append(key)
            elif index < by_rule != PERSON and rule.remembers_rivals:
                stays = True
            else:
                pool.discard(leg)
        return stays

    def _rival_pools(self, leg: Leg) -> Iterator[Pool]:
        """The pools in which a leg that a later rule has matched still counts."""
        for rule, pool in self._rules_and_pools:
            if rule.index < leg.rule and rule.remembers_rivals and not rule.unique:
                yield pool

    def _note_rival(self, leg: Leg) -> None:
        self.closed_on(leg.occurred_at).rivals[leg] = None
        settled = self.known[leg.side].get(leg.transaction_id)
        if isinstance(settled, Settled):
            settled.rivals = (*settled.rivals, leg)

    def reopen(self, settled: Settled) -> tuple[tuple[Leg, ...], tuple[Leg, ...]]:
        """Put the members of a match back as pending, and the values they used up with them.

        Returns:
            Its sources and its targets, in id order.
        """
        for rival in settled.rivals:
            closed = self.closed.get(rival.occurred_at // _DAY_US)
            # A rival of former rules or of a day that is forgotten counts nowhere any more.
            if closed is not None and rival in closed.rivals:
                del closed.rivals[rival]
                for pool in self._rival_pools(rival):
                    pool.discard(rival)
        tenant, reconciliation = self.definition.tenant_id, self.definition.reconciliation_id
        sides = []
        for side in (0, 1):
            legs = [
                self.leg_of(unpack_transaction(packed, tenant, reconciliation))
                for packed in settled.packed(side)
            ]
            for leg in legs:
                for rule, pool in self._rules_and_pools:
                    if isinstance(pool, UniquePool):
                        pool.free(side, leg.keys[rule.slot], leg.transaction_id)
                self.put_in(leg)
            self.again += legs
            sides.append(tuple(legs))
        return sides[0], sides[1]

    def refuse(self, refusal: Refusal) -> None:
        """Keep what a person has rejected or reversed from being proposed or made again."""
        self.refusals.add(refusal, self.rules)

    def set_duplicate(self, leg: Leg) -> None:
        """Set a leg aside as a second occurrence of a unique value."""
        self.known[leg.side][leg.transaction_id] = leg.packed
        self.closed_on(leg.occurred_at).ids[leg.side].append(leg.transaction_id)
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
            self.due.forget(leg)
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

    def forget_before(self, instant_us: int) -> None:
        """Forget ids, spent values and rivals of days that ended before `instant_us`."""
        last_day = instant_us // _DAY_US
        if not self.closed or last_day <= self._kept_from:
            return
        self._kept_from = last_day
        self._last_day = -1 << 62
        for day in [day for day in self.closed if day < last_day]:
            closed = self.closed.pop(day)
            for side, ids in enumerate(closed.ids):
                known = self.known[side]
                for transaction_id in ids:
                    if type(known.get(transaction_id)) is not Leg:
                        known.pop(transaction_id, None)
            for place, keys in enumerate(closed.spent):
                pool = self.pools[place // 2]
                if isinstance(pool, UniquePool):
                    for key in keys:
                        pool.forget(place % 2, key, self.known[place % 2])
            for leg in closed.rivals:
                for rival_pool in self._rival_pools(leg):
                    rival_pool.discard(leg)
        self.refusals.forget(self.known, self.rules)

    def plan_again(self) -> None:
        """Plan a look at the legs whose surroundings changed, instead of looking now."""
        for leg in self.again:
            if leg.rule == OPEN and leg.disposition != DUPLICATE:
                self.due.plan(leg, leg.occurred_at + self.looks[0])
        self.again.clear()


def _packed(legs: Sequence[Leg]) -> bytes | tuple[bytes, ...]:
    return legs[0].packed if len(legs) == 1 else tuple(leg.packed for leg in legs)
