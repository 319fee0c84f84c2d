"""Whether the read models of a reconciliation say what a verified reading of its log says."""

from typing import Any

from psycopg import Connection

from domain.transactions import SIDE_NAMES, SOURCE, TARGET
from domain.verification.difference import Difference, Where
from domain.verification.totals import (
    DUPLICATE,
    EXCEPTION,
    MATCHED,
    PENDING,
    SUGGESTED,
    SUPERSEDED,
    Totals,
)
from projections.queries import load_queries

_SQL = load_queries("agreement")
_NAMES = ("matches", "exceptions", "reconciliation_summary")


def read_positions(conn: Connection[Any]) -> dict[str, int]:
    """Give how far each of the read models compared has come."""
    found = dict(conn.execute(_SQL["read_positions"], {"names": list(_NAMES)}).fetchall())
    return {name: found.get(name, 0) for name in _NAMES}


class Agreement:
    """Holds the rows of one reconciliation against its totals.

    Args:
        totals: As of the position the read models have come to.
    """

    def __init__(
        self, conn: Connection[Any], tenant_id: str, reconciliation_id: str, totals: Totals
    ) -> None:
        self._conn = conn
        self._asked = {"tenant_id": tenant_id, "reconciliation_id": reconciliation_id}
        self._where = Where(f"{tenant_id}/{reconciliation_id}", totals.version)
        self._totals = totals

    def check(self) -> None:
        """Compare counts and sums.

        Raises:
            Difference: A read model says something else than the log.
        """
        self._check_matches()
        self._check_exceptions()
        self._check_summary()
        self._check_totals()

    def _differs(self, table: str, model: str, what: str, shown: object, logged: object) -> None:
        raise Difference(
            "read_models",
            f"{table} shows {shown} {what}, the log has {logged}",
            self._where,
            f"Rebuild the read model from the log: settler projections rebuild {model}.",
        )

    def _check_matches(self) -> None:
        shown = {
            (status, currency): (count, int(source), int(target))
            for status, currency, count, source, target in self._conn.execute(
                _SQL["count_matches"], self._asked
            )
        }
        logged = {
            key: (one.count, one.source_minor, one.target_minor)
            for key, one in self._totals.matches.items()
            if one.count
        }
        for key in sorted(shown.keys() | logged.keys()):
            status, currency = key
            mine, theirs = shown.get(key, (0, 0, 0)), logged.get(key, (0, 0, 0))
            if mine[0] != theirs[0]:
                self._differs(
                    "matches", "matches", f"{status} matches in {currency}", mine[0], theirs[0]
                )
            if mine != theirs:
                what = f"minor units on the sides of {status} matches in {currency}"
                self._differs("matches", "matches", what, mine[1:], theirs[1:])

    def _check_exceptions(self) -> None:
        row = self._conn.execute(_SQL["count_exceptions"], self._asked).fetchone()
        assert row is not None, "an aggregate without groups gives a row"
        for what, shown, logged in (
            ("open exceptions", row[0], self._totals.cases_open),
            ("closed exceptions", row[1], self._totals.cases_closed),
        ):
            if shown != logged:
                self._differs("exceptions", "exceptions", what, shown, logged)

    def _check_summary(self) -> None:
        totals = self._totals
        standing = totals.standing
        logged = {
            "definition_version": totals.definition_version,
            "accepted_source": totals.accepted(SOURCE),
            "accepted_target": totals.accepted(TARGET),
            "redelivered": totals.redelivered,
            "rejected": totals.rejected,
            "matches_confirmed": totals.matched("confirmed"),
            "transactions_matched": standing(MATCHED),
            "suggestions_open": totals.matched("suggested"),
            "transactions_suggested": standing(SUGGESTED),
            "exceptions_open": totals.cases_open,
            "exceptions_resolved": totals.cases_closed,
            "transactions_exception": standing(EXCEPTION),
            "duplicates": standing(DUPLICATE),
            "superseded": standing(SUPERSEDED),
            "pending": standing(PENDING),
        }
        row = self._conn.execute(_SQL["read_summary"], self._asked).fetchone()
        shown = row or (0,) * len(logged)
        for (name, value), found in zip(logged.items(), shown, strict=True):
            if found != value:
                self._differs(
                    "reconciliation_summary", "reconciliation_summary", name, found, value
                )

    def _check_totals(self) -> None:
        """Compare per side and currency.

        Sums of suggested and pending transactions are left out: a suggestion tells the sum of its
        side only, so the read model has to share it out (`projections.suggested`).
        """
        counted = (MATCHED, SUGGESTED, EXCEPTION, DUPLICATE, SUPERSEDED, PENDING)
        summed = (MATCHED, EXCEPTION, DUPLICATE, SUPERSEDED)
        logged = {
            (SIDE_NAMES[side], currency): (
                sum(one.count for one in places.values()),
                *(places[place].count for place in counted),
                sum(one.sum_minor for one in places.values()),
                *(places[place].sum_minor for place in summed),
            )
            for (side, currency), places in self._totals.places.items()
        }
        names = (
            "accepted",
            *counted,
            "accepted, minor units",
            *(f"{p}, minor units" for p in summed),
        )
        shown = {
            (side, currency): tuple(map(int, values))
            for side, currency, *values in self._conn.execute(_SQL["read_totals"], self._asked)
        }
        nothing = (0,) * len(names)
        for key in sorted(shown.keys() | logged.keys()):
            for name, mine, theirs in zip(
                names, shown.get(key, nothing), logged.get(key, nothing), strict=True
            ):
                if mine != theirs:
                    what = f"{key[0]} {key[1]} {name}"
                    self._differs(
                        "reconciliation_totals", "reconciliation_summary", what, mine, theirs
                    )
