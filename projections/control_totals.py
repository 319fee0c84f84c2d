"""The read models `control_totals` and `period_statements`: the books by business day.

What is added to the totals of a reconciliation is posted to its days as well, from the very same
movements, so the days add up to where everything stands. When days close, a statement of each is
written, chained to the one before by its hash; what it says cannot change any more, since whatever
comes later is posted to days still open.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from psycopg import Connection

from domain.periods import day_text
from domain.statements import PLACES, Statement, write_statement
from projections.log import LogBatch
from projections.movements import NO_CURRENCY, Books, Posting, Postings, Total, Turn
from projections.queries import load_queries
from projections.read_model import ReadModel
from projections.summary_ledger import Key, Ledger

_SQL = load_queries("control_totals")


def fold(_batches: Sequence[LogBatch]) -> None:
    """Fold nothing ahead: all that is posted comes with the totals of reconciliations."""


def write(conn: Connection[Any], _fold: None, answers: Mapping[str, Any]) -> None:
    """Post the movements of a piece, and write the statements of the days it closes."""
    ledger: Ledger = answers["reconciliation_summary"]
    if not ledger.steps:
        return
    asked = {
        "tenant_ids": [tenant_id for tenant_id, _ in ledger.steps],
        "reconciliation_ids": [reconciliation_id for _, reconciliation_id in ledger.steps],
    }
    kept = {(row[0], row[1]): Books(*row[2:]) for row in conn.execute(_SQL["read_books"], asked)}
    rest: list[_Row] = []
    turned: list[dict[str, Any]] = []
    for key, steps in ledger.steps.items():
        books = kept.setdefault(key, Books())
        before = _books_row(key, books)
        is_new = books.latest_day is None
        for postings, turn in books.post(steps):
            if turn is None:
                rest += _rows(key, postings)
            else:
                _close(conn, key, books, postings, turn)
        after = _books_row(key, books)
        if is_new or after != before:
            turned.append(after)
    _add_postings(conn, rest)
    if turned:
        with conn.cursor() as cursor:
            cursor.executemany(_SQL["keep_books"], turned)


class _Row(Posting, kw_only=True):
    """A posting with the key of its row."""

    tenant_id: str
    reconciliation_id: str
    day: int
    side: str
    currency: str


def _rows(key: Key, postings: Postings) -> list[_Row]:
    tenant_id, reconciliation_id = key
    return [
        _Row(
            *msgspec.structs.astuple(posting),
            tenant_id=tenant_id,
            reconciliation_id=reconciliation_id,
            day=day,
            side=side,
            currency=currency,
        )
        for (day, side, currency), posting in postings.items()
    ]


def _add_postings(conn: Connection[Any], rows: Sequence[_Row]) -> None:
    if rows:
        conn.execute(_SQL["add_postings"], {"rows": msgspec.json.encode(rows).decode()})


def _books_row(key: Key, books: Books) -> dict[str, Any]:
    return {
        "tenant_id": key[0],
        "reconciliation_id": key[1],
        "time_zone": books.calendar.time_zone,
        "closed_day": books.closed_day,
        "latest_day": books.latest_day,
    }


def _close(conn: Connection[Any], key: Key, books: Books, postings: Postings, turn: Turn) -> None:
    """Post what came before a close, and write a statement for each day it closes."""
    _add_postings(conn, _rows(key, postings))
    scope = {"tenant_id": key[0], "reconciliation_id": key[1]}
    assert turn.closed_day is not None, "it closes days"
    days: dict[int, dict[tuple[str, str], Posting]] = {turn.closed_day: {}}
    asked = scope | {"closed_day": books.closed_day, "closes": turn.closed_day}
    for day, side, currency, *figures in conn.execute(_SQL["read_days"], asked):
        days.setdefault(day, {})[side, currency] = Posting(*map(int, figures))
    row = conn.execute(_SQL["last_statement"], scope).fetchone()
    previous = None if row is None else Statement(*row)
    closed_at = turn.at.isoformat().replace("+00:00", "Z")
    for day in sorted(days):
        previous = write_statement(
            key,
            day_text(day),
            books.calendar.time_zone,
            (turn.position, closed_at),
            {of: figures_of(posting) for of, posting in days[day].items() if of[1] != NO_CURRENCY},
            _records(days[day]),
            previous,
        )
        conn.execute(
            _SQL["keep_statement"],
            scope
            | {
                "day": previous.day,
                "position": turn.position,
                "closed_at": turn.at,
                "statement": previous.text,
                "hash": previous.hash,
                "previous_hash": previous.previous_hash,
            },
        )


def figures_of(posting: Total) -> dict[str, tuple[int, int]]:
    """Give place → count and sum of a row; pending is what the others leave over."""
    figures = {
        name: (getattr(posting, f"{name}_count"), getattr(posting, f"{name}_minor"))
        for name in ("accepted", *PLACES)
        if name != "pending"
    }
    accepted = figures["accepted"]
    elsewhere = [figures[name] for name in PLACES if name != "pending"]
    figures["pending"] = (
        accepted[0] - sum(count for count, _ in elsewhere),
        accepted[1] - sum(minor for _, minor in elsewhere),
    )
    return figures


def _records(day: Mapping[tuple[str, str], Posting]) -> dict[str, tuple[int, int, int]]:
    """Give side → accepted, redelivered and rejected records of a day."""
    records: dict[str, tuple[int, int, int]] = {}
    for (side, _), posting in day.items():
        accepted, redelivered, rejected = records.get(side, (0, 0, 0))
        records[side] = (
            accepted + posting.accepted_count,
            redelivered + posting.redelivered_count,
            rejected + posting.rejected_count,
        )
    return records


CONTROL_TOTALS = ReadModel(
    "control_totals",
    ("control_totals", "period_calendars", "period_statements"),
    ("reconciliation_summary", "exceptions"),
    fold,
    write,
)
