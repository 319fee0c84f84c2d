"""Verification of a log whose first journals have expired, a snapshot standing in for them."""

import random

import msgspec
import pytest

from connectors.postgres.journal import decode_journal
from domain.commands import StartRun
from domain.definition_parsing import parse_definition
from domain.events import ReconciliationCompleted
from domain.instants import instant_text
from domain.reconciliation import Chunk, Reconciliation
from domain.snapshots import snapshot
from domain.transactions import build_transaction
from domain.verification.anchors import read_anchor
from domain.verification.difference import Difference
from domain.verification.entries import Known
from domain.verification.letters import Letters
from domain.verification.stream import StreamAudit
from domain.verification.totals import MATCHED
from tests.unit.domain.cases import DAY, some_transactions
from tests.unit.domain.logs import Log, audit

SCOPE = "acme", "orders"
DEFINITION = {
    "rules": [
        {"name": "reference", "conditions": [{"field": "reference", "operator": "exact"}]},
        {"name": "any", "conditions": [], "selection": {"tie_break": "lowest_id"}},
    ],
    "window": {"wait": "P1D", "lateness": "PT0S"},
}


def late(side, newest):
    """A record with which event time passes the run's end and every wait before it."""
    fields = {"tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": "late",
              "amount": f"{side + 1}.00", "currency": "CHF",
              "occurred_at": instant_text(newest + 3 * DAY)}  # fmt: skip
    return build_transaction(fields, side, None)


class Expired:
    """A log of two chunks with a run over the first, and a snapshot taken between them."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        state, self.log = Reconciliation(parse_definition(DEFINITION, *SCOPE)), Log()
        self.log.add(state.define(state.definition, "define").events)
        records = some_transactions(rng, 8)
        decision = state.advance(Chunk(records, caught_up=True))
        self.log.add(decision.events, decision.journal)
        oldest, newest = (pick(one.occurred_at for one in records) for pick in (min, max))
        run = StartRun(instant_text(oldest), instant_text(newest + 1), "all of it")
        self.log.add(state.decide(run, "run").events)
        decision = state.advance(Chunk([late(side, newest) for side in (0, 1)], caught_up=True))
        self.log.add(decision.events, decision.journal)
        self.snapshot = snapshot(state)
        self.rows = len(self.log.rows)
        later = some_transactions(random.Random(seed + 1), 6)
        later = [
            one
            for one in later
            if one.transaction_id not in {two.transaction_id for two in records}
        ]
        decision = state.advance(Chunk(later, caught_up=True))
        self.log.add(decision.events, decision.journal)
        self.log.add(state.finish().events)

    def audit(self, **changed):
        """Verify it with the journals before the snapshot gone."""
        anchor = read_anchor(self.snapshot, *SCOPE)._replace(**changed)
        of_stream = StreamAudit(*SCOPE, decode_journal, Letters([]), anchor=anchor)
        for batch in self.log.batches():
            gone = batch.base_version < anchor.version
            of_stream.read(batch._replace(journal=None) if gone else batch)
        return of_stream.end(of_stream.version, {})


@pytest.mark.parametrize("seed", range(30))
def test_it_counts_what_the_whole_log_does(seed):
    past = Expired(seed)
    whole = audit(past.log)
    assert whole.accepted() > 0
    assert past.audit() == whole


def completed(past):
    row, place = past.log.at(ReconciliationCompleted)
    told = next(one for one in row.events[place].totals if one[2] == "matched")
    return row, place, told


def test_a_run_may_tell_of_no_more_than_the_events_before_it_do():
    past = Expired(4)
    row, place, told = completed(past)
    side, currency, where, count, _ = told
    row.events[place] = msgspec.structs.replace(
        row.events[place], totals=[(side, currency, where, count + 1, 0)]
    )
    with pytest.raises(Difference, match=rf"tells {count + 1} matched .* in {currency}, {count} "):
        past.audit()


def test_a_snapshot_may_hold_no_more_matched_than_the_events_tell_of():
    past = Expired(4)
    *_, (side, currency, _, count, _) = completed(past)
    known = read_anchor(past.snapshot, *SCOPE).known
    for number in range(count + 1):
        known[side][f"more-{number}"] = Known(100, currency, 0, MATCHED)
    with pytest.raises(Difference, match=rf"matched .* transactions in {currency}, the events"):
        past.audit(known=known)


def test_journals_expire_up_to_the_end_of_a_batch():
    past = Expired(1)
    definition, chunk, *_ = past.log.rows
    version = len(definition.events) + len(chunk.events) - 1
    with pytest.raises(Difference, match=f"expired up to version {version}, amid a batch"):
        past.audit(version=version)


def test_a_snapshot_part_of_which_is_frozen_stands_in_for_nothing():
    stored = msgspec.msgpack.decode(Expired(1).snapshot)
    assert stored[22] == []
    stored[22] = [[1, 0, False, 1, True, 1, 1, 1, b"", 1, True]]
    with pytest.raises(ValueError, match="names frozen blocks"):
        read_anchor(msgspec.msgpack.encode(stored), *SCOPE)


def test_a_snapshot_of_another_format_stands_in_for_nothing():
    stored = msgspec.msgpack.decode(Expired(1).snapshot)
    with pytest.raises(ValueError, match="snapshot has format 99, this release verifies 2, 4, 5"):
        read_anchor(msgspec.msgpack.encode([99, *stored[1:]]), *SCOPE)
