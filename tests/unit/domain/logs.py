"""Logs as the flow would store them, made by the real engine from small worlds."""

import random
from dataclasses import dataclass, field

from connectors.postgres.journal import decode_journal, encode_journal
from domain.events import Event, encode_events
from domain.reconciliation import Chunk, Reconciliation
from domain.verification.letters import Letters
from domain.verification.stream import StoredBatch, StreamAudit
from domain.verification.totals import Totals
from tests.unit.domain.cases import DAY, MINUTE, some_transactions, some_written_definition
from tests.unit.domain.test_reconciliation_properties import in_chunks

PLACE = "settler.transactions.source/0"


@dataclass
class Row:
    """What one row of event_store holds, before it is encoded."""

    events: list[Event]
    journal: list[bytes]


@dataclass
class Log:
    """A stream's rows and what its row in `streams` says."""

    tenant_id: str = "acme"
    reconciliation_id: str = "orders"
    rows: list[Row] = field(default_factory=list)
    next_offset: int = 0

    def add(self, events: list[Event], journal: list[bytes] | None = None) -> None:
        if events:
            self.rows.append(Row(list(events), list(journal or [])))

    def batches(self) -> list[StoredBatch]:
        """The rows as they are stored, alone in their log."""
        stored, version = [], 0
        for row in self.rows:
            count = len(row.events)
            if not count:
                continue
            stored.append(
                StoredBatch(
                    version + 1,
                    version + count,
                    version,
                    count,
                    1,
                    encode_events(row.events).decode(),
                    encode_journal(row.journal) if row.journal else None,
                )
            )
            version += count
        return stored

    def at(self, kind: type) -> tuple[Row, int]:
        """The first event of a type: its row and place there."""
        for row in self.rows:
            for place, event in enumerate(row.events):
                if isinstance(event, kind):
                    return row, place
        raise AssertionError(f"no {kind.__name__} in this log")

    def has(self, *kinds: type) -> bool:
        found = {type(event) for row in self.rows for event in row.events}
        return found >= set(kinds)


def audit(log: Log, batches: list[StoredBatch] | None = None, version: int | None = None) -> Totals:
    """Verify a log that ends at a version, its own unless told; raises what is found."""
    of_stream = StreamAudit(log.tenant_id, log.reconciliation_id, decode_journal, Letters([]))
    for batch in log.batches() if batches is None else batches:
        of_stream.read(batch)
    ending = of_stream.version if version is None else version
    return of_stream.end(ending, {PLACE: log.next_offset})


def engine_log(seed: int, *, redefined: bool = True) -> tuple[Log, Reconciliation]:
    """Run the engine over a small world, from its definition to the end of time."""
    rng = random.Random(seed)
    definition = some_written_definition(rng, lateness_us=rng.choice([0, 5 * MINUTE, 400 * DAY]))
    state = Reconciliation(definition)
    log = Log()
    decision = state.define(definition, "command-1")
    log.add(decision.events)
    transactions = some_transactions(rng, rng.randint(4, 16))
    transactions.sort(key=lambda one: one.occurred_at + rng.randint(0, 15) * MINUTE)
    again = [*transactions, *rng.sample(transactions, k=len(transactions) // 3)]
    for chunk in in_chunks(rng, again):
        offsets = {PLACE: (log.next_offset, log.next_offset + len(chunk))}
        log.next_offset += len(chunk)
        decision = state.advance(Chunk(chunk, offsets=offsets, caught_up=rng.random() < 0.8))
        log.add(decision.events, decision.journal)
        if redefined and rng.random() < 0.1:
            other = some_written_definition(rng, lateness_us=5 * MINUTE)
            decision = state.define(other, f"command-{state.version}")
            log.add(decision.events)
    log.add(state.finish().events)
    return log, state
