"""The id of a duplicate that was forgotten comes anew: read models and verification count alike."""

from datetime import UTC, datetime

import msgspec
import pytest

from domain.events import RecordMatched
from projections import exceptions, reconciliation_summary
from projections.agreement import _summary_of
from projections.log import LogBatch
from tests.unit.domain.cases import DAY, START
from tests.unit.domain.logs import audit, log_of
from tests.unit.domain.test_runs import World
from tests.unit.test_forgetting import UNIQUE


def summary_of(world: World) -> dict[str, int]:
    """What the read model comes to, and what it says is pending: whatever is nowhere else."""
    batches, position = [], 0
    for decision in world.decisions:
        rows = list(enumerate(decision.events))
        told = {
            "first_position": position + 1,
            "last_position": position + len(rows),
            "base_version": position,
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "created_at": datetime(2026, 1, 5, 12, tzinfo=UTC),
            "event_count": len(rows),
            "pairs": [],
            "matched": [row for row in rows if isinstance(row[1], RecordMatched)],
            "others": [row for row in rows if not isinstance(row[1], RecordMatched)],
        }
        batches.append(LogBatch(**{one: told.get(one, 0) for one in LogBatch.__struct_fields__}))
        position += len(rows)
    ledger = reconciliation_summary.fold([one for one in batches if one.event_count])
    _, answer = exceptions.fold_cases({}, exceptions.fold(batches))
    reconciliation_summary.add_changes(ledger, answer.changes)
    (summary,) = ledger.summaries.values()
    counts: dict[str, int] = msgspec.structs.asdict(summary)
    counts["pending"] = summary.accepted_source + summary.accepted_target
    for place in ("matched", "suggested", "exception"):
        counts["pending"] -= counts[f"transactions_{place}"]
    counts["pending"] -= summary.duplicates + summary.superseded
    return counts


@pytest.mark.parametrize("becomes", ["an exception", "matched late", "a duplicate again"])
def test_the_forgotten_one_stays_a_duplicate(becomes):
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s1", "A", START), ("t1", "A", START))
    world.send(("s2", "A", START))
    later = START + 9 * DAY
    world.until(later)
    if becomes == "a duplicate again":
        world.send(("s3", "B", later), ("t3", "B", later))
    world.send(("s2", "B", later))
    world.until(later + 3 * DAY)
    if becomes == "matched late":
        world.send(("t2", "B", later + 3 * DAY))
    log = log_of(world.decisions)
    wanted = _summary_of(audit(log))
    found = summary_of(world)
    assert {one: found[one] for one in wanted} == wanted
    assert found["pending"] == 0
    assert found["duplicates"] == (2 if becomes == "a duplicate again" else 1)
