"""Counts and sums of a reconciliation, by where its transactions stand."""

from typing import Final

import msgspec

from domain.transactions import SIDE_NAMES

PENDING: Final = "pending"
MATCHED: Final = "matched"
SUGGESTED: Final = "suggested"
EXCEPTION: Final = "exception"
DUPLICATE: Final = "duplicate"
SUPERSEDED: Final = "superseded"
#: Where an accepted transaction can stand, exactly one of them (CONTRACT section 4.10).
PLACES: Final = (PENDING, MATCHED, SUGGESTED, EXCEPTION, DUPLICATE, SUPERSEDED)


class Tally(msgspec.Struct):
    """How many transactions, and their sum in minor units."""

    count: int = 0
    sum_minor: int = 0

    def add(self, count: int, sum_minor: int) -> None:
        """Count that many more."""
        self.count += count
        self.sum_minor += sum_minor


class MatchTally(msgspec.Struct):
    """How many matches, and the sums of their two sides in minor units."""

    count: int = 0
    source_minor: int = 0
    target_minor: int = 0

    def add(self, source_minor: int, target_minor: int) -> None:
        """Count one more."""
        self.count += 1
        self.source_minor += source_minor
        self.target_minor += target_minor


#: side → currency → …
SideKey = tuple[int, str]


class Totals(msgspec.Struct):
    """Everything that is counted of one stream up to a version.

    Attributes:
        places: (side, currency) → place → tally; every place is there.
        matches: (status, currency) → tally of what the table `matches` shows.
        days: (business day, side, currency) → place → tally of what is posted to it; sums of what
            is suggested are left out.
        cases_open, cases_closed: Exceptions people see as open, and those that were closed.
        cases_in_progress: Those of the open ones that somebody is assigned to.
        comments: What people said about exceptions.
        redelivered, rejected: Records that were taken in to no effect.
    """

    version: int
    definition_version: int
    redelivered: int
    rejected: int
    cases_open: int
    cases_closed: int
    places: dict[SideKey, dict[str, Tally]]
    matches: dict[tuple[str, str], MatchTally]
    cases_in_progress: int = 0
    comments: int = 0
    days: dict[tuple[str, str, str], dict[str, Tally]] = {}

    def accepted(self, side: int | None = None) -> int:
        """Transactions accepted, of one side or both."""
        return sum(
            tally.count
            for (of_side, _), places in self.places.items()
            if side is None or of_side == side
            for tally in places.values()
        )

    def standing(self, place: str) -> int:
        """Transactions that stand in a place."""
        return sum(places[place].count for places in self.places.values())

    def matched(self, status: str) -> int:
        """Rows of `matches` with a status."""
        return sum(tally.count for (of, _), tally in self.matches.items() if of == status)

    @property
    def consumed(self) -> int:
        """Records that belong to the reconciliation, whatever became of them."""
        return self.accepted() + self.redelivered + self.rejected

    def plain(self) -> dict[str, object]:
        """Give the totals as plain values; amounts are integers in minor units."""
        return {
            "version": self.version,
            "definition_version": self.definition_version,
            "consumed": self.consumed,
            "accepted": self.accepted(),
            "redelivered": self.redelivered,
            "rejected": self.rejected,
            "matches": self.matched("confirmed"),
            "suggestions": self.matched("suggested"),
            "exceptions_open": self.cases_open,
            "totals": [
                {
                    "side": SIDE_NAMES[side],
                    "currency": currency,
                    "accepted_count": sum(one.count for one in places.values()),
                    "accepted_minor": sum(one.sum_minor for one in places.values()),
                }
                | {f"{place}_count": places[place].count for place in PLACES}
                | {f"{place}_minor": places[place].sum_minor for place in PLACES}
                for (side, currency), places in sorted(self.places.items())
            ],
        }
