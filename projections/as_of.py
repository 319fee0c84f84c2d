"""The figures of a reconciliation as its read model showed them at a moment of the log.

The read models' own folding, over memory instead of tables: what a table would have held is kept
here, so the figures are those the read model had there, to the last one.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from projections import exceptions, reconciliation_summary, suggested
from projections.exceptions import Case
from projections.log import LogBatch
from projections.movements import Total
from projections.summary_ledger import Ledger, Summary

_KEPT_IF_NOTHING_NEW = ("name", "watermark_at", "status")


class FiguresAsOf:
    """Reads a reconciliation's batches from the first on, and tells the figures at any point.

    Memory is that of its exceptions and of what stands in suggestions.
    """

    def __init__(self) -> None:
        self._summary: Summary | None = None
        self._totals: dict[tuple[str, str], Total] = {}
        self._cases: dict[str, Case] = {}
        self._suggested: dict[suggested.MemberKey, suggested.Member] = {}

    def read(self, batches: Sequence[LogBatch]) -> None:
        """Fold the next batches of the stream."""
        if not batches:
            return
        ledger = reconciliation_summary.fold(batches)
        changed, answer = exceptions.fold_cases(self._cases, exceptions.fold(batches))
        # What people read of a case takes most of its room, and none of it is counted.
        self._cases.update(
            (
                case_id,
                msgspec.structs.replace(case, reason="", candidates="", resolution_reason=None),
            )
            for case_id, case in changed.items()
        )
        reconciliation_summary.add_changes(ledger, answer.changes)
        if ledger.suggestions:
            self._suggested = reconciliation_summary.add_suggestions(ledger, self._suggested)
        self._add(ledger)

    def _add(self, ledger: Ledger) -> None:
        (added,) = ledger.summaries.values()
        self._summary = added if self._summary is None else _sum_of(self._summary, added)
        for (_, _, side, currency), total in ledger.totals.items():
            kept = self._totals.get((side, currency))
            self._totals[side, currency] = total if kept is None else _add_up(kept, total)

    def summary(self) -> dict[str, Any]:
        """Give the row of `reconciliation_summary`, without its key."""
        assert self._summary is not None, "a batch was read"
        row = msgspec.structs.asdict(self._summary)
        row["definition_version"] = row["definition_version"] or 0
        row["status"] = row["status"] or "active"
        row["pending"] = (
            row["accepted_source"]
            + row["accepted_target"]
            - row["transactions_matched"]
            - row["transactions_suggested"]
            - row["transactions_exception"]
            - row["duplicates"]
            - row["superseded"]
        )
        return row

    def totals(self) -> list[dict[str, Any]]:
        """Give the rows of `reconciliation_totals`, without their reconciliation."""
        rows = []
        for (side, currency), total in sorted(self._totals.items()):
            row = {"side": side, "currency": currency, **msgspec.structs.asdict(total)}
            for unit in ("count", "minor"):
                elsewhere = ("matched", "suggested", "exception", "duplicate", "superseded")
                row[f"pending_{unit}"] = row[f"accepted_{unit}"] - sum(
                    row[f"{place}_{unit}"] for place in elsewhere
                )
            rows.append(row)
        return rows


def _sum_of(kept: Summary, added: Summary) -> Summary:
    merged: dict[str, int | str | datetime | None] = {}
    for name in Summary.__struct_fields__:
        before, now = getattr(kept, name), getattr(added, name)
        if name == "first_event_at":
            merged[name] = before
        elif name in ("last_event_at", "position"):
            merged[name] = now
        elif name in _KEPT_IF_NOTHING_NEW or name == "definition_version":
            merged[name] = before if now is None else now
        else:
            merged[name] = before + now
    return msgspec.convert(merged, Summary)


def _add_up(kept: Total, added: Total) -> Total:
    return Total(
        *(
            before + now
            for before, now in zip(
                msgspec.structs.astuple(kept), msgspec.structs.astuple(added), strict=True
            )
        )
    )
