"""The accepted transactions of a stream, each in its one place, and their counts and sums."""

from collections.abc import Callable, Sequence
from typing import NoReturn

from domain.transactions import SIDE_NAMES, Transaction
from domain.verification.difference import KEEP_AND_REPORT, Difference, Where
from domain.verification.entries import OPEN, Known, named, no_tallies
from domain.verification.totals import MATCHED, SideKey, Tally


class Accounts:
    """What was accepted, and where it stands.

    Args:
        where: The stream.
        forgotten_before_us: Gives the event time before which the flow may have forgotten the ids
            of closed transactions; None if it may have forgotten none.

    Attributes:
        where: The event being read, for what is said about it.
        known: Per side: transaction id → where it stands.
        matched: What matches told of their members, by side and currency.
    """

    def __init__(self, where: Where, forgotten_before_us: Callable[[], int | None]) -> None:
        self.where = where
        self.known: tuple[dict[str, Known], dict[str, Known]] = ({}, {})
        self.matched: dict[SideKey, Tally] = {}
        self._accepted: dict[SideKey, Tally] = {}
        self._forgotten: dict[SideKey, dict[str, Tally]] = {}
        self._forgotten_before_us = forgotten_before_us

    def differs(self, problem: str, kind: str = "conservation") -> NoReturn:
        """Say that the event being read cannot be true."""
        raise Difference(kind, problem, self.where, KEEP_AND_REPORT)

    def accept(self, transactions: Sequence[Transaction]) -> dict[SideKey, Tally]:
        """Take in the transactions of one `TransactionsAccepted`; returns their sums."""
        sums: dict[SideKey, Tally] = {}
        known = self.known
        for one in transactions:
            of_side = known[one.side]
            transaction_id, amount_minor = one.transaction_id, one.amount_minor
            if transaction_id in of_side:
                self._accept_again(one.side, transaction_id)
            of_side[transaction_id] = Known(amount_minor, one.currency, one.occurred_at)
            key = (one.side, one.currency)
            tally = sums.get(key)
            if tally is None:
                tally = sums[key] = Tally()
            tally.count += 1
            tally.sum_minor += amount_minor
        for key, tally in sums.items():
            self._accepted.setdefault(key, Tally()).add(tally.count, tally.sum_minor)
        return sums

    def _accept_again(self, side: int, transaction_id: str) -> None:
        """Allow an id a second time only where the flow had a right to forget it."""
        prior = self.known[side][transaction_id]
        before_us = self._forgotten_before_us()
        if prior.place in OPEN or before_us is None or prior.occurred_at >= before_us:
            self.differs(f"{named((side, transaction_id))} was accepted twice", "journal")
        places = self._forgotten.setdefault((side, prior.currency), no_tallies())
        places[prior.place].add(1, prior.amount_minor)

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

    def places(self) -> dict[SideKey, dict[str, Tally]]:
        """Count every transaction where it stands, and hold that against what the events told.

        Raises:
            Difference: The sums do not tie out.
        """
        places = {
            key: {place: Tally(one.count, one.sum_minor) for place, one in forgotten.items()}
            for key, forgotten in self._forgotten.items()
        }
        for side, of_side in enumerate(self.known):
            for known in of_side.values():
                of_key = places.get((side, known.currency))
                if of_key is None:
                    of_key = places[(side, known.currency)] = no_tallies()
                tally = of_key[known.place]
                tally.count += 1
                tally.sum_minor += known.amount_minor
        for key in places.keys() | self._accepted.keys() | self.matched.keys():
            of_key = places.get(key) or no_tallies()
            everywhere = Tally()
            for one in of_key.values():
                everywhere.add(one.count, one.sum_minor)
            self._tie_out(key, "accepted", self._accepted.get(key, Tally()), everywhere)
            self._tie_out(key, "matched", self.matched.get(key, Tally()), of_key[MATCHED])
        return places

    def _tie_out(self, key: SideKey, what: str, told: Tally, found: Tally) -> None:
        if told != found:
            self.differs(
                f"{SIDE_NAMES[key[0]]} {key[1]}: the events tell of {told.count} {what} with a sum "
                f"of {told.sum_minor} minor units, {found.count} with {found.sum_minor} are found"
            )
