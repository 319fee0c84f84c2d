"""The book of one reconciliation: what is open, what is known, and where to find it.

Every change of state is one of the methods here, so that deciding live and folding recorded events
do the very same things to it.
"""

from collections.abc import Hashable, Iterator, Sequence
from itertools import repeat
from typing import Any

from domain.definitions import Definition
from domain.events import Compared
from domain.matching.closed import DAY_US, Closed, ClosedDays, Members
from domain.matching.due import FIRST_LOOK, SECOND_US, DueQueue
from domain.matching.legs import (
    DUPLICATE,
    EXCEPTION,
    MATCHED,
    OPEN,
    PENDING,
    PERSON,
    SUGGESTED,
    SUPERSEDED,
    Known,
    Leg,
    Settled,
    Suggestion,
    Superseded,
    by_time,
    packed_members,
)
from domain.matching.pools import Pool
from domain.matching.refusals import Refusal, Refusals
from domain.matching.terms import Terms
from domain.matching.unique_pool import UniquePool
from domain.transactions import Transaction, supersedes


class Book(Terms):
    """State of matching under one definition.

    Attributes:
        known: Per side: transaction id → its leg while open, else what became of it.
        exceptions: Open exceptions: leg → (category, ids of the candidates named with it).
        suggestions: Standing suggestions by match id.
        refusals: What people have rejected or reversed.
        replaced: Per side: what came under an id before it was corrected under the same id.
        again: Legs whose surroundings changed, to be looked at in the same step.
        gone: (rule's number, place in its pool) → a leg that is found there no longer.
        kept_from: Ids closed on days before this one, from the epoch, have been forgotten.
        days: Per side: the day that the id of a superseded record or a duplicate is forgotten with.
    """

    def __init__(self, definition: Definition) -> None:
        self.known: tuple[dict[str, Known], dict[str, Known]] = ({}, {})
        self.due = DueQueue()
        self.exceptions: dict[Leg, tuple[str, tuple[str, ...]]] = {}
        self.suggestions: dict[str, Suggestion] = {}
        self.refusals = Refusals()
        self.again: list[Leg] = []
        self.gone: dict[tuple[int, Hashable], Leg] = {}
        self.replaced: tuple[dict[str, tuple[bytes, ...]], dict[str, tuple[bytes, ...]]] = ({}, {})
        self.closed = ClosedDays()
        self.kept_from = -1 << 62
        self.days: tuple[dict[str, int], dict[str, int]] = ({}, {})
        super().__init__(definition)

    def use(self, definition: Definition) -> None:
        """Put a definition in force, and file every open leg under it if its rules are others.

        Rivals and spent values belonged to the rules before and are dropped.
        """
        if self.pools and self.has_same_rules(definition):
            self.use_same_rules(definition)
            return
        self.closed.spread()
        super().use(definition)
        self.refusals.tell(self.rules)
        self.closed.use(len(self.rules))
        for leg in self.open_legs():
            transaction = self.unpack(leg.packed)
            leg.keys = self.keys_of(transaction)
            leg.occurred_at = self.event_time(transaction)
            self.file(leg)

    def take(self, transaction: Transaction) -> Leg | None:
        """File what was accepted; None for a record whose correction had come before it."""
        side, transaction_id = transaction.side, transaction.transaction_id
        prior = self.known[side].get(transaction_id)
        corrects = supersedes(transaction)
        if corrects is not None and corrects != transaction_id:
            self._expect(transaction, corrects)
        if isinstance(prior, Superseded):
            if not prior.by == transaction_id == corrects:
                prior.contents = (*prior.contents, transaction.packed)
                return None
            self.replaced[side][transaction_id] = prior.contents  # what stood is forgotten
            del self.days[side][transaction_id]
        elif prior is not None:
            replaced = self.replaced[side]
            replaced[transaction_id] = (*replaced.get(transaction_id, ()), transaction.packed)
            return None
        leg = self.leg_of(transaction)
        self.put_in(leg)
        return leg

    def _expect(self, correction: Transaction, transaction_id: str) -> None:
        """Know an id as superseded, be it before its record has come."""
        side, known = correction.side, self.known[correction.side]
        entry = known.setdefault(transaction_id, Superseded(transaction_id))
        if isinstance(entry, Superseded):
            if entry.by == transaction_id:
                entry.by = correction.transaction_id
            day = self.event_time(correction) // DAY_US
            if day > self.days[side].get(transaction_id, day - 1):
                self.list_closed(side, transaction_id, day)

    def file(self, leg: Leg) -> None:
        """File an open leg, without planning a look; ids stand in the order of filing."""
        self.known[leg.side].pop(leg.transaction_id, None)
        self.known[leg.side][leg.transaction_id] = leg
        for pool in self.pools:
            pool.add(leg)

    def put_in(self, leg: Leg) -> None:
        """File a new leg everywhere it can be found, and plan the first look at it."""
        self.file(leg)
        self.due.plan(leg, leg.occurred_at + self.looks[0])

    def due_second(self, leg: Leg) -> int:
        """The second of event time a leg's next look is planned for, 0 if none."""
        if leg.due == FIRST_LOOK:
            return (leg.occurred_at + self.looks[0]) // SECOND_US + 1
        return leg.due

    def put_back_rival(self, leg: Leg) -> None:
        """File a leg that a rule has matched where earlier rules still count it."""
        leg.disposition = MATCHED
        for pool in self.rival_pools(leg):
            pool.add(leg)
        self._note_rival(leg)

    def open_legs(self) -> list[Leg]:
        """Every open leg, oldest first: an order that says nothing of what was in memory."""
        legs = [leg for side in self.known for leg in side.values() if isinstance(leg, Leg)]
        return sorted(legs, key=by_time)

    def open_leg(self, side: int, transaction_id: str) -> Leg:
        """The leg of an open transaction that a recorded event names."""
        leg = self.known[side][transaction_id]
        assert isinstance(leg, Leg), f"{transaction_id} is closed, yet an event takes it"
        return leg

    def pair_off(
        self,
        side: int,
        keys: list[Any],
        new: Members,
        waiting: Members,
        others: list[Leg],
        newest_ms: list[int],
    ) -> int:
        """Close legs and their counterparts that were never filed: pairs by a unique first rule.

        The same as filing each counterpart and taking both out, without the detour.

        Args:
            side: Of the new ones, the counterparts; every list has one value for each of them.
            others: The legs that waited.
            newest_ms: The matches' newest times.

        Returns:
            For how many legs a look was planned; the caller tells the queue that they need none.
        """
        pool = self.pools[0]
        assert isinstance(pool, UniquePool)
        sources, targets = (waiting, new) if side else (new, waiting)
        columns = repeat(self.rules[0].name), newest_ms, sources.packed, targets.packed
        settled = list(map(Settled, *columns))
        self.known[0].update(zip(sources.ids, settled, strict=True))
        self.known[1].update(zip(targets.ids, settled, strict=True))
        pool.spend_pairs(keys, settled)
        self.closed.close_pairs(keys, sources, targets, settled, newest_ms)
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

    def take_out(
        self,
        sources: Sequence[Leg],
        targets: Sequence[Leg],
        rule: str,
        by_rule: int,
        newest_ms: int,
        compared: Compared | None,
    ) -> None:
        """Close the members of a match.

        Args:
            sources, targets: In id order.
            rule: The match's rule, by name.
            by_rule: The rule's number, or PERSON, whose matches come before every rule.
            newest_ms, compared: As its event tells them.
        """
        settled = Settled(
            rule, newest_ms, packed_members(sources), packed_members(targets), (), compared
        )
        closed = self.closed.of_match(newest_ms)
        for leg in (*sources, *targets):
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

    def rival_pools(self, leg: Leg) -> Iterator[Pool]:
        """The pools in which a leg that a later rule has matched still counts."""
        for rule, pool in self._rules_and_pools:
            if rule.index < leg.rule and rule.remembers_rivals and not rule.unique:
                yield pool

    def _note_rival(self, leg: Leg) -> None:
        self.closed.on(leg.occurred_at).rivals[leg] = None
        settled = self.known[leg.side].get(leg.transaction_id)
        if isinstance(settled, Settled):
            settled.rivals = (*settled.rivals, leg)

    def drop_rivals(self, settled: Settled) -> None:
        """Let the members of a match that earlier rules still count be found no longer."""
        for rival in settled.rivals:
            # A rival of former rules or of a day that is forgotten counts nowhere any more.
            if self.closed.drop_rival(rival):
                for pool in self.rival_pools(rival):
                    pool.discard(rival)

    def reopen(self, settled: Settled) -> tuple[tuple[Leg, ...], tuple[Leg, ...]]:
        """Put the members of a match back as pending, and the values they used up with them.

        Returns:
            Its sources and its targets, in id order.
        """
        self.drop_rivals(settled)
        self.closed.undo(settled)
        sides = []
        for side in (0, 1):
            legs = [self.leg_of(self.unpack(packed)) for packed in settled.packed(side)]
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

    def set_duplicate(self, leg: Leg, rule_index: int) -> None:
        """Set a leg aside as a second occurrence of a value that is unique to a rule."""
        self._close(leg, leg.packed)
        pool = self.pools[rule_index]
        assert isinstance(pool, UniquePool)
        pool.set_aside(leg.side, leg.keys[self.rules[rule_index].slot], leg.transaction_id)
        leg.disposition, leg.packed = DUPLICATE, b""

    def set_superseded(self, side: int, transaction_id: str, by: str) -> None:
        """Let an open record or a duplicate give way to what corrects it, also under its own id."""
        known = self.known[side].get(transaction_id)
        if isinstance(known, Leg):
            content = known.packed
            self._close(known, content)
            known.disposition, known.rule, known.packed = SUPERSEDED, PERSON, b""
        else:
            assert isinstance(known, bytes), f"{transaction_id} is {known!r}, not open"
            content = known
            self.no_longer_aside(side, content)
        contents = (*self.replaced[side].pop(transaction_id, ()), content)
        if by == transaction_id:
            del self.known[side][transaction_id], self.days[side][transaction_id]
            self.replaced[side][transaction_id] = contents
        else:
            self.known[side][transaction_id] = Superseded(by, contents)

    def _close(self, leg: Leg, known: Known) -> None:
        """Keep no more of an open leg than what is known of its id."""
        self.known[leg.side][leg.transaction_id] = known
        self.list_closed(leg.side, leg.transaction_id, leg.occurred_at // DAY_US)
        self.due.forget(leg)
        self.exceptions.pop(leg, None)
        for pool in self.pools:
            pool.discard(leg)

    def release(self, side: int, transaction_id: str) -> None:
        """Put back as pending what was a duplicate of what is corrected."""
        packed = self.known[side][transaction_id]
        assert isinstance(packed, bytes), f"{transaction_id} is no duplicate"
        leg = self.no_longer_aside(side, packed)
        del self.days[side][transaction_id]
        self.put_in(leg)
        self.again.append(leg)

    def open_exception(self, leg: Leg, category: str, candidates: tuple[str, ...]) -> None:
        """Note that an exception stands open for `leg`."""
        leg.disposition = EXCEPTION
        self.due.forget(leg)
        self.exceptions[leg] = (category, candidates)

    def suggest(self, suggestion_id: str, suggestion: Suggestion) -> None:
        """Note a standing suggestion; its members' exceptions close.

        Looks that are planned stay: another rule may have to ask about a member later.
        """
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
            if leg.rule == OPEN and leg.disposition == SUGGESTED:
                if not leg.suggestions:
                    leg.disposition = PENDING
                self.again.append(leg)
        return suggestion

    def list_closed(self, side: int, transaction_id: str, day: int) -> None:
        """Have an id that is neither open nor of a match forgotten with a day."""
        self.days[side][transaction_id] = day
        self.closed.of_day(day).ids[side].append(transaction_id)

    def day_of(self, side: int, transaction_id: str) -> int | None:
        """The day that a closed id is forgotten with; None for one that is open or not known."""
        known = self.known[side].get(transaction_id)
        if type(known) is Settled:
            return known.day
        return self.days[side].get(transaction_id)

    def stood_beside(self, gone: Leg, first_rule: int) -> None:
        """Have those looked at again, before the step ends, who were decided upon beside `gone`."""
        for index in range(first_rule, len(self.pools)):
            place = self.pools[index].place(gone)
            if place is not None:
                self.gone[index, place] = gone

    def take_again(self) -> set[Leg]:
        """Give who is to be looked at again, and forget it.

        Among them is who was decided upon beside a leg that is gone: what is left may fit now.
        """
        legs = set(self.again)
        for (index, _), gone in self.gone.items():
            for leg in self.pools[index].beside(gone):
                # Before its first look nothing has been decided about a leg.
                if leg.due not in (FIRST_LOOK, (leg.occurred_at + self.looks[0]) // SECOND_US + 1):
                    legs.add(leg)
        self.again.clear()
        self.gone.clear()
        return {leg for leg in legs if leg.rule == OPEN and leg.disposition != DUPLICATE}

    def plan_again(self) -> None:
        """Plan a look at the legs whose surroundings changed, instead of looking now."""
        for leg in self.take_again():
            self.due.plan(leg, leg.occurred_at + self.looks[0])
