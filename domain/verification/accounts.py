"""The accepted transactions of a stream, each in its one place, and their counts and sums."""

from collections.abc import Callable, Sequence
from typing import NoReturn

from domain.transactions import SIDE_NAMES, Transaction, supersedes
from domain.verification.difference import KEEP_AND_REPORT, Difference, Where
from domain.verification.entries import OPEN, Known, Member, named, no_tallies
from domain.verification.totals import MATCHED, SUPERSEDED, SideKey, Tally


class Accounts:
    """What was accepted, and where it stands.

    Args:
        where: The stream.
        forgotten_before_us: Gives the event time before which the flow may have forgotten the ids
            of closed transactions; None if it may have forgotten none.
        begins_within: The flow has forgotten some before the first event that is read.

    Attributes:
        where: The event being read, for what is said about it.
        known: Per side: transaction id → where it stands.
        matched: What matches told of their members, by side and currency.
        awaited: Corrections that the batch in hand has still to accept → what gave way to them.
        accepted: What was accepted, by side and currency.
        forgotten: What no longer stands under its id, by side and currency, and place.
    """

    def __init__(
        self,
        where: Where,
        forgotten_before_us: Callable[[], int | None],
        *,
        begins_within: bool = False,
    ) -> None:
        self.where = where
        self.known: tuple[dict[str, Known], dict[str, Known]] = ({}, {})
        self.matched: dict[SideKey, Tally] = {}
        self.awaited: dict[Member, Member] = {}
        self.accepted: dict[SideKey, Tally] = {}
        self.forgotten: dict[SideKey, dict[str, Tally]] = {}
        self._late: dict[Member, list[Known]] = {}
        # Came under an id that had corrected itself, and may have been forgotten: what stood there.
        self._late_or_new: dict[Member, Known] = {}
        self._forgotten_before_us = forgotten_before_us
        self._begins_within = begins_within

    def differs(self, problem: str, kind: str = "conservation") -> NoReturn:
        """Say that the event being read cannot be true."""
        raise Difference(kind, problem, self.where, KEEP_AND_REPORT)

    def accept(self, transactions: Sequence[Transaction]) -> dict[SideKey, Tally]:
        """Take in the transactions of one `TransactionsAccepted`; returns their sums."""
        sums: dict[SideKey, Tally] = {}
        for one in transactions:
            of_side = self.known[one.side]
            transaction_id, amount_minor = one.transaction_id, one.amount_minor
            known = Known(amount_minor, one.currency, one.occurred_at)
            if one.extra is not None:
                known.corrects_itself = supersedes(one) == transaction_id
            if transaction_id not in of_side or self._accept_again(one, known):
                of_side[transaction_id] = known
            if self.awaited:
                self.awaited.pop((one.side, transaction_id), None)
            key = (one.side, one.currency)
            tally = sums.get(key)
            if tally is None:
                tally = sums[key] = Tally()
            tally.count += 1
            tally.sum_minor += amount_minor
        for key, tally in sums.items():
            self.accepted.setdefault(key, Tally()).add(tally.count, tally.sum_minor)
        return sums

    def _accept_again(self, one: Transaction, known: Known) -> bool:
        """Allow an id a second time where it is corrected, or the flow had a right to forget it.

        Returns:
            Whether this content stands under the id from here on; else it came too late.
        """
        side, transaction_id = member = one.side, one.transaction_id
        prior = self.known[side][transaction_id]
        if prior.corrects_itself and not known.corrects_itself:
            if not self._may_be_forgotten(prior):
                self._late.setdefault(member, []).append(known)
                return False
            self._late_or_new[member] = prior
        elif not (
            known.corrects_itself and prior.place == SUPERSEDED
        ) and not self._may_be_forgotten(prior):
            self.differs(f"{named(member)} was accepted twice", "journal")
        self._replace(side, prior, prior.place)
        return True

    def _may_be_forgotten(self, known: Known) -> bool:
        if known.place in OPEN:
            return False
        before_us = self._forgotten_before_us()
        return before_us is not None and known.occurred_at < before_us

    def _replace(self, side: int, known: Known, place: str) -> None:
        """Count what no longer stands under its id."""
        places = self.forgotten.setdefault((side, known.currency), no_tallies())
        places[place].add(1, known.amount_minor)

    def take_late(self, member: Member, by: Member, amount_minor: int, currency: str) -> bool:
        """Count content that came behind its correction under the same id as superseded.

        What came behind one of another id stands, and is remembered with that.

        Returns:
            Whether such content came.
        """
        correction = self.known[by[0]].get(by[1]) if self._begins_within else self.find(*by)
        prior = self._late_or_new.pop(member, None)
        if prior is not None:
            # It was known after all, and stands again.
            side, transaction_id = member
            self.forgotten[side, prior.currency][prior.place].add(-1, -prior.amount_minor)
            self._late.setdefault(member, []).append(self.known[side][transaction_id])
            self.known[side][transaction_id] = prior
        waiting = self._late.get(member, [])
        for place, known in enumerate(waiting):
            if (known.amount_minor, known.currency) == (amount_minor, currency):
                self._replace(member[0], waiting.pop(place), SUPERSEDED)
                if not waiting:
                    del self._late[member]
                return True
        known = self.find(*member)
        if correction is not None:
            known.occurred_at = min(known.occurred_at, correction.occurred_at)
        return False

    def end_batch(self) -> None:
        """Check that all that came late was said to have, and what was corrected has come."""
        self._late_or_new.clear()
        if self._late:
            self.differs(f"{named(*self._late)} was accepted twice", "journal")
        for correction, corrected in self.awaited.items():
            self.differs(
                f"{named(corrected)} gave way to {named(correction)}, which was not accepted"
            )

    def find(self, side: int, transaction_id: str) -> Known:
        """Give an accepted transaction that an event names."""
        known = self.known[side].get(transaction_id) if side in (0, 1) else None
        if known is None:
            self.differs(f"{named((side, transaction_id))} was never accepted")
        return known

    def count_matched(self, side: int, currency: str, told: Tally) -> None:
        """Note what a match tells of one of its sides."""
        tally = self.matched.get((side, currency))
        if tally is None:
            tally = self.matched[(side, currency)] = Tally()
        tally.add(told.count, told.sum_minor)

    def standing(self, side: int, currency: str, place: str) -> int:
        """Count the transactions of a side and currency that stand in a place now."""
        replaced = self.forgotten.get((side, currency))
        return (replaced[place].count if replaced else 0) + sum(
            known.place == place and known.currency == currency
            for known in self.known[side].values()
        )

    def places(self) -> dict[SideKey, dict[str, Tally]]:
        """Count every transaction where it stands, and hold that against what the events told.

        Raises:
            Difference: The sums do not tie out.
        """
        places = {
            key: {place: Tally(one.count, one.sum_minor) for place, one in forgotten.items()}
            for key, forgotten in self.forgotten.items()
        }
        for side, of_side in enumerate(self.known):
            for known in of_side.values():
                of_key = places.get((side, known.currency))
                if of_key is None:
                    of_key = places[(side, known.currency)] = no_tallies()
                tally = of_key[known.place]
                tally.count += 1
                tally.sum_minor += known.amount_minor
        for key in places.keys() | self.accepted.keys() | self.matched.keys():
            of_key = places.get(key) or no_tallies()
            everywhere = Tally()
            for one in of_key.values():
                everywhere.add(one.count, one.sum_minor)
            self._tie_out(key, "accepted", self.accepted.get(key, Tally()), everywhere)
            self._tie_out(key, "matched", self.matched.get(key, Tally()), of_key[MATCHED])
        return places

    def _tie_out(self, key: SideKey, what: str, told: Tally, found: Tally) -> None:
        if told != found:
            self.differs(
                f"{SIDE_NAMES[key[0]]} {key[1]}: the events tell of {told.count} {what} with a sum "
                f"of {told.sum_minor} minor units, {found.count} with {found.sum_minor} are found"
            )
