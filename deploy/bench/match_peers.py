"""The peers of the matching benchmark: reconcile-py, and joins of Polars as what is possible.

Both are optional: the extra `bench` of the package has them. reconcile-py is a public engine of the
same purpose that tries every pair, so it is given few pairs and its rate is the better for it.
Polars only joins: it says neither why nor what is left over, keeps no state, and is told once that
all is there; it shows what the machine can do.
"""

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from deploy.bench.match_records import Case, Group, Record
from deploy.bench.measured import BenchFailed

REQUIREMENTS = ("reconcile-py==0.1.0", "polars==2.1.0")
#: Of fuzzy text, what the engine's rule asks, on reconcile-py's scale.
_SIMILAR = 0.8
_DAY_MS = 86_400_000


def missing() -> list[str]:
    """Requirements that are not installed."""
    from importlib.metadata import PackageNotFoundError, version

    absent = []
    for requirement in REQUIREMENTS:
        name, wanted = requirement.split("==")
        try:
            installed = version(name)
        except PackageNotFoundError:
            absent.append(requirement)
            continue
        if installed != wanted:
            absent.append(requirement)
    return absent


def _timed(work: Callable[[], int], expected: int, what: str) -> float:
    """CPU seconds of some work that must find so many matches."""
    began = time.process_time()
    found = work()
    seconds = time.process_time() - began
    _check(found, expected, what)
    return seconds


def _check(found: int, expected: int, what: str) -> None:
    # A peer that finds something else was asked something else.
    if found != expected:
        raise BenchFailed(f"{what} found {found} of {expected} matches")


# -- reconcile-py --


def _record(one: Record) -> Any:
    from reconcile import Record as Theirs

    return Theirs(
        amount=Decimal(one.amount_minor) / 100,
        date=datetime.fromtimestamp(one.occurred_ms // 1_000, UTC).date(),
        reference=one.reference,
        counterparty=one.counterparty,
        id=one.transaction_id,
    )


def _config(case: Case) -> Any:
    from reconcile import FieldRule, ReconcileConfig

    graded = FieldRule("reference", "grade")
    match case.name:
        case "unique":
            return ReconcileConfig((FieldRule("amount", "gate"), graded))
        case "reference_tolerance_date":
            amount = FieldRule("amount", "gate", abs_tol=Decimal("0.50"))
            return ReconcileConfig((amount, FieldRule("date", "gate", day_tol=3), graded))
    amount = FieldRule("amount", "gate", abs_tol=Decimal("0.05"))
    named = FieldRule("counterparty", "grade")
    return ReconcileConfig((amount, FieldRule("date", "gate", day_tol=2), named), _SIMILAR)


def reconcile_py(case: Case, pairs: int) -> float:
    """CPU seconds that reconcile-py takes for so many pairs of a case."""
    from reconcile import reconcile

    left, right = ([_record(case.record(side, one)) for one in range(pairs)] for side in (0, 1))
    config = _config(case)
    return _timed(
        lambda: len(reconcile(left, right, config).matches), pairs, f"reconcile-py, {case.name}"
    )


def reconcile_py_groups(groups: Sequence[Group], most: int) -> list[float]:
    """CPU seconds of each search by reconcile-py for a group of up to `most` members."""
    from reconcile import FieldRule, ReconcileConfig, reconcile
    from reconcile import Record as Theirs

    times = []
    for group in groups:
        config = ReconcileConfig(
            (FieldRule("amount", "gate"),),
            max_subset_size=most,
            max_group_size=len(group.amounts),
        )
        many = [
            Theirs(Decimal(amount) / 100, id=f"{place:03d}")
            for place, amount in enumerate(group.amounts)
        ]
        one = [Theirs(Decimal(group.total) / 100, id="total")]
        began = time.process_time()
        result = reconcile(many, one, config)
        times.append(time.process_time() - began)
        _check(len(result.matches), 1, "reconcile-py")
    return times


# -- Polars --


def polars_join(case: Case, pairs: int) -> float:
    """CPU seconds that joins of Polars take for the pairs of a case, on one thread."""
    os.environ["POLARS_MAX_THREADS"] = "1"  # read once, when it is first imported
    import polars as pl

    left, right = (
        pl.DataFrame(
            [case.record(side, one) for one in range(pairs)],
            schema=list(Record._fields),
            orient="row",
        ).with_columns(day=pl.col("occurred_ms") // _DAY_MS)
        for side in (0, 1)
    )
    off = pl.col("amount_minor_right") - pl.col("amount_minor")
    later = pl.col("day_right") - pl.col("day")

    def by_reference() -> Any:
        return left.join(right, on="reference")

    def work() -> int:
        match case.name:
            case "unique":
                return int(by_reference().filter(off == 0).height)
            case "reference_tolerance_date":
                agree = off.abs().le(50) & later.is_between(-1, 3)
                return int(by_reference().filter(agree).height)
        matched = by_reference().filter(off == 0)
        rest = left.join(matched, on="number", how="anti")
        others = right.join(matched, left_on="number", right_on="number_right", how="anti")
        near = rest.sort("amount_minor").join_asof(
            others.sort("amount_minor"), on="amount_minor", strategy="nearest", tolerance=5
        )
        # Whether the names are alike is not asked: that would be the engine's work, not a join's.
        return int(matched.height + near.drop_nulls("number_right").height)

    return _timed(work, pairs, f"Polars, {case.name}")
