"""Whether the read models say what a verified reading of the log says."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from psycopg import Connection

from domain.statements import FIGURES, ChainBroken, Statement, check_chain, closing_of
from domain.transactions import SIDE_NAMES, SOURCE, TARGET
from domain.verification.difference import Difference, Where
from domain.verification.totals import (
    DUPLICATE,
    EXCEPTION,
    MATCHED,
    PENDING,
    SUGGESTED,
    SUPERSEDED,
    Tally,
    Totals,
)
from projections.queries import load_queries

_SQL = load_queries("agreement")
# Sums of suggested and pending transactions are left out: a suggestion tells the sum of its side
# only, so the read model has to share it out (`projections.suggested`).
_COUNTED = (MATCHED, SUGGESTED, EXCEPTION, DUPLICATE, SUPERSEDED, PENDING)
_SUMMED = (MATCHED, EXCEPTION, DUPLICATE, SUPERSEDED)
_TOTAL_NAMES = (
    "accepted",
    *_COUNTED,
    "accepted minor units",
    *(f"{place} minor units" for place in _SUMMED),
)
_DAY_COUNTED = (
    "accepted", MATCHED, SUGGESTED, EXCEPTION, DUPLICATE, SUPERSEDED, "rejected", "redelivered",
)  # fmt: skip
_DAY_SUMMED = ("accepted", *_SUMMED)
_DAY_NAMES = (*_DAY_COUNTED, *(f"{place} minor units" for place in _DAY_SUMMED))


class Shown(msgspec.Struct):
    """What the read models show of one reconciliation.

    Attributes:
        matches: (status, currency) → count, minor units of the source and of the target side.
        exceptions: How many are open, closed, in progress, and how many comments they have.
        summary: The columns of `reconciliation_summary`, as `_summary_of` names them; None if the
            row is not there.
        totals: (side, currency) → the columns of `reconciliation_totals`, as `_TOTAL_NAMES`.
        days: (day, side, currency) → the columns of `control_totals`, as `_DAY_NAMES`.
        statements: Of closed days, oldest first.
    """

    matches: dict[tuple[str, str], tuple[int, int, int]] = {}
    exceptions: tuple[int, int, int, int] = (0, 0, 0, 0)
    summary: tuple[int, ...] | None = None
    totals: dict[tuple[str, str], tuple[int, ...]] = {}
    days: dict[tuple[str, str, str], tuple[int, ...]] = {}
    statements: list[Statement] = []


class ReadModels(msgspec.Struct):
    """The read models at one moment.

    Attributes:
        positions: Of every name in `MODELS`: up to which event it shows them.
        shown: By stream; what is not there shows nothing.
    """

    positions: dict[str, int]
    shown: dict[str, Shown]


def read_models(
    conn: Connection[Any], tenant_id: str | None = None, reconciliation_id: str | None = None
) -> ReadModels:
    """Read what is shown; None means of every tenant or reconciliation.

    The tables are held only meanwhile, so that a rebuild need not wait for all of a verification.

    Args:
        conn: Within a database transaction that has read nothing yet.
    """
    asked = {"tenant_id": tenant_id, "reconciliation_id": reconciliation_id}
    shown: dict[str, Shown] = {}

    def read(query: str) -> Iterator[tuple[Shown, tuple[Any, ...]]]:
        for tenant, reconciliation, *values in conn.execute(_SQL[query], asked):
            yield shown.setdefault(f"{tenant}/{reconciliation}", Shown()), tuple(values)

    with conn.transaction(force_rollback=True):  # going back to a savepoint gives up its locks
        conn.execute(_SQL["hold_still"])
        found = dict(conn.execute(_SQL["read_positions"], {"names": list(MODELS)}).fetchall())
        for of, (status, currency, count, source_minor, target_minor) in read("count_matches"):
            of.matches[status, currency] = (count, int(source_minor), int(target_minor))
        for of, (is_open, closed, in_progress, comments) in read("count_exceptions"):
            of.exceptions = (is_open, closed, in_progress, comments)
        for of, values in read("read_summaries"):
            of.summary = tuple(map(int, values))
        for of, (side, currency, *figures) in read("read_totals"):
            of.totals[side, currency] = tuple(map(int, figures))
        for of, (day, side, currency, *figures) in read("read_days"):
            of.days[day, side, currency] = tuple(map(int, figures))
        for of, statement in read("read_statements"):
            of.statements.append(Statement(*statement))
    return ReadModels({name: found.get(name, 0) for name in MODELS}, shown)


def compare(stream_id: str, shown: Shown, logged: Mapping[str, Totals]) -> Iterator[Difference]:
    """Give what the read models of one reconciliation show otherwise than its log.

    Args:
        logged: By names in `MODELS`, the log's totals up to where that one stands; those left out
            are not compared.
    """
    for model, totals in logged.items():
        for problem in _COMPARED[model](shown, totals):
            yield Difference(
                "read_models",
                problem,
                Where(stream_id, totals.version),
                f"Rebuild the read model from the log: settler projections rebuild {model}.",
            )


def _compare_matches(shown: Shown, totals: Totals) -> Iterator[str]:
    logged = {
        key: (one.count, one.source_minor, one.target_minor)
        for key, one in totals.matches.items()
        if one.count
    }
    for key in sorted(shown.matches.keys() | logged.keys()):
        status, currency = key
        mine, theirs = shown.matches.get(key, (0, 0, 0)), logged.get(key, (0, 0, 0))
        if mine[0] != theirs[0]:
            yield _said("matches", mine[0], f"{status} matches in {currency}", theirs[0])
        elif mine != theirs:
            what = f"minor units on the sides of {status} matches in {currency}"
            yield _said("matches", mine[1:], what, theirs[1:])


def _compare_exceptions(shown: Shown, totals: Totals) -> Iterator[str]:
    logged = {
        "open exceptions": totals.cases_open,
        "closed exceptions": totals.cases_closed,
        "exceptions in progress": totals.cases_in_progress,
        "comments on exceptions": totals.comments,
    }
    for (what, of_log), found in zip(logged.items(), shown.exceptions, strict=True):
        if found != of_log:
            yield _said("exceptions", found, what, of_log)


def _compare_summary(shown: Shown, totals: Totals) -> Iterator[str]:
    logged = _summary_of(totals)
    if shown.summary is None:
        if totals.version:
            yield "reconciliation_summary has no row of it"
    else:
        for (name, value), found in zip(logged.items(), shown.summary, strict=True):
            if found != value:
                yield _said("reconciliation_summary", found, name, value)
    by_side = _totals_of(totals)
    nothing = (0,) * len(_TOTAL_NAMES)
    for key in sorted(shown.totals.keys() | by_side.keys()):
        for name, mine, theirs in zip(
            _TOTAL_NAMES,
            shown.totals.get(key, nothing),
            by_side.get(key, nothing),
            strict=True,
        ):
            if mine != theirs:
                yield _said("reconciliation_totals", mine, f"{key[0]} {key[1]} {name}", theirs)


def _compare_days(shown: Shown, totals: Totals) -> Iterator[str]:
    """Hold each day against the log, and the statements against their chain and their days."""
    nothing = (0,) * len(_DAY_NAMES)
    logged = {key: _day_of(tallies) for key, tallies in totals.days.items()}
    for key in sorted(shown.days.keys() | logged.keys()):
        for name, mine, theirs in zip(
            _DAY_NAMES, shown.days.get(key, nothing), logged.get(key, nothing), strict=True
        ):
            if mine != theirs:
                yield _said("control_totals", mine, f"{' '.join(key)} {name}", theirs)
    try:
        check_chain(shown.statements)
    except ChainBroken as problem:
        yield f"period_statements: {problem}"
        return
    if shown.statements:
        yield from _compare_closing(shown.statements[-1], shown.days)


def _compare_closing(
    last: Statement, days: Mapping[tuple[str, str, str], tuple[int, ...]]
) -> Iterator[str]:
    """Hold what the last statement closes with against all days up to it."""
    names = [name for name in FIGURES if name not in (SUGGESTED, PENDING)]
    for (side, currency), closing in sorted(closing_of(last).items()):
        for name in names:
            places = _DAY_NAMES.index(name), _DAY_NAMES.index(f"{name} minor units")
            posted = tuple(
                sum(
                    figures[place]
                    for (day, *of), figures in days.items()
                    if day <= last.day and of == [side, currency]
                )
                for place in places
            )
            if closing[name] != posted:
                what = f"{side} {currency} {name} at the end of {last.day}"
                yield _said("period_statements", closing[name], what, posted)


def _day_of(tallies: Mapping[str, Tally]) -> tuple[int, ...]:
    return (
        *(tallies.get(name, Tally()).count for name in _DAY_COUNTED),
        *(tallies.get(name, Tally()).sum_minor for name in _DAY_SUMMED),
    )


def _said(table: str, shown: object, what: str, logged: object) -> str:
    return f"{table} shows {shown} {what}, the log has {logged}"


def _summary_of(totals: Totals) -> dict[str, int]:
    standing = totals.standing
    return {
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


def _totals_of(totals: Totals) -> dict[tuple[str, str], tuple[int, ...]]:
    return {
        (SIDE_NAMES[side], currency): (
            sum(one.count for one in places.values()),
            *(places[place].count for place in _COUNTED),
            sum(one.sum_minor for one in places.values()),
            *(places[place].sum_minor for place in _SUMMED),
        )
        for (side, currency), places in totals.places.items()
    }


_COMPARED: Mapping[str, Callable[[Shown, Totals], Iterator[str]]] = {
    "matches": _compare_matches,
    "exceptions": _compare_exceptions,
    "reconciliation_summary": _compare_summary,
    "control_totals": _compare_days,
}
#: The read models that are compared.
MODELS = tuple(_COMPARED)
