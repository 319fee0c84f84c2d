"""The summary of a reconciliation of files: counts, amounts, accuracy and conservation."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from connectors.files.results import Place, Results
from domain.money import amount_text
from domain.transactions import SIDE_NAMES

DISPOSITIONS = ("matched", "suggested", "exception", "duplicate", "superseded")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# currency -> side -> disposition or "accepted" -> [count, minor units]
Tally = dict[str, list[dict[str, list[int]]]]


def summarise(results: Results) -> dict[str, Any]:
    """The content of `summary.json`.

    It is the same for the same files, whenever it is made: `duration` is the span of event time
    that the accepted transactions cover, not how long the work took.
    """
    places = results.dispositions()
    tally, unplaced, first_us, last_us = _tally(results, places)
    accepted = results.accepted()
    accepted_total = sum(count for count, _ in accepted.values())
    confirmed, suggestions = results.match_counts()
    rejected = len(results.rejections)
    return {
        "tenant_id": results.definition.tenant_id,
        "reconciliation_id": results.definition.reconciliation_id,
        "definition_version": results.definition_version,
        "counts": {
            "read": sum(results.read),
            "accepted": accepted_total,
            "redelivered": results.redelivered,
            "rejected": rejected,
            "matches": confirmed,
            "suggestions": suggestions,
            "exceptions": sum(results.categories().values()),
            "transactions": {
                side: {
                    name: sum(sides[number][name][0] for sides in tally.values())
                    for name in ("accepted", *DISPOSITIONS)
                }
                for number, side in enumerate(SIDE_NAMES)
            },
        },
        "exceptions_by_category": results.categories(),
        "amounts": {
            currency: {
                side: {"count": sides[number]["accepted"][0]}
                | {
                    name: amount_text(sides[number][name][1], currency)
                    for name in ("accepted", *DISPOSITIONS)
                }
                for number, side in enumerate(SIDE_NAMES)
            }
            for currency, sides in sorted(tally.items())
        },
        "accuracy": (round(len(places["matched"]) / accepted_total, 6) if accepted_total else None),
        "duration": _duration(first_us, last_us),
        "conserved": (
            unplaced == 0
            and accepted == _as_accepted(tally)
            and sum(results.read) == accepted_total + results.redelivered + rejected
        ),
    }


def _tally(
    results: Results, places: dict[str, set[Place]]
) -> tuple[Tally, int, int | None, int | None]:
    """Count every accepted transaction where it is; how many are nowhere or in two places."""
    tally: Tally = defaultdict(
        lambda: [{name: [0, 0] for name in ("accepted", *DISPOSITIONS)} for _ in SIDE_NAMES]
    )
    unplaced = 0
    first_us: int | None = None
    last_us: int | None = None
    standing = ((one, (one.side, one.transaction_id)) for one in results.transactions())
    for transaction, place in chain(standing, ((one, None) for one in results.superseded)):
        counts = tally[transaction.currency][transaction.side]
        where = [name for name, found in places.items() if place in found]
        if place is None:
            where = ["superseded"]
        unplaced += len(where) != 1
        for name in ("accepted", *where):
            counts[name][0] += 1
            counts[name][1] += transaction.amount_minor
        occurred_us = transaction.occurred_at
        first_us = occurred_us if first_us is None else min(first_us, occurred_us)
        last_us = occurred_us if last_us is None else max(last_us, occurred_us)
    return tally, unplaced, first_us, last_us


def _as_accepted(tally: Tally) -> dict[tuple[int, str], tuple[int, int]]:
    return {
        (side, currency): (counts["accepted"][0], counts["accepted"][1])
        for currency, sides in tally.items()
        for side, counts in enumerate(sides)
        if counts["accepted"][0]
    }


def _duration(first_us: int | None, last_us: int | None) -> dict[str, Any] | None:
    if first_us is None or last_us is None:
        return None
    return {
        "first": _instant(first_us),
        "last": _instant(last_us),
        "seconds": (last_us - first_us) // 1_000_000,
    }


def _instant(at_us: int) -> str:
    moment = EPOCH + timedelta(microseconds=at_us)
    return moment.replace(tzinfo=None).isoformat() + "Z"
