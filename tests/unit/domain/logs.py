"""Logs as the flow would store them, made by the real engine from small worlds."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from connectors.postgres.journal import decode_journal, encode_journal
from domain.commands import (
    AnyCommand,
    CancelRun,
    CannotBeDone,
    ConfirmMatch,
    MatchByHand,
    Pause,
    RejectMatch,
    Resume,
    RetryRun,
    ReverseMatch,
    StartRun,
)
from domain.decision import Decision
from domain.event_batches import encode_batch
from domain.events import Event
from domain.identity import match_id
from domain.instants import instant_text
from domain.matching.legs import Leg, Settled
from domain.reconciliation import Chunk, Reconciliation
from domain.verification.letters import Letters
from domain.verification.stream import StoredBatch, StreamAudit
from domain.verification.totals import Totals
from tests.unit.domain.cases import (
    DAY,
    MINUTE,
    START,
    corrected,
    some_transactions,
    some_written_definition,
)
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
            batch_format, text = encode_batch(row.events)
            stored.append(
                StoredBatch(
                    version + 1,
                    version + count,
                    version,
                    count,
                    batch_format,
                    text.decode(),
                    encode_journal(row.journal) if row.journal else None,
                    datetime(2026, 1, 5, 12, tzinfo=UTC),
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


def log_of(decisions: Iterable[Decision]) -> Log:
    """What was decided, as it is stored."""
    log = Log()
    for decision in decisions:
        log.add(decision.events, decision.journal)
    return log


def audit(log: Log, batches: list[StoredBatch] | None = None, version: int | None = None) -> Totals:
    """Verify a log that ends at a version, its own unless told; raises what is found."""
    of_stream = StreamAudit(log.tenant_id, log.reconciliation_id, decode_journal, Letters([]))
    for batch in log.batches() if batches is None else batches:
        of_stream.read(batch)
    ending = of_stream.version if version is None else version
    return of_stream.end(ending, {PLACE: log.next_offset})


def engine_log(
    seed: int, *, redefined: bool = True, people: bool = True
) -> tuple[Log, Reconciliation]:
    """Run the engine over a small world, from its definition to the end of time."""
    rng = random.Random(seed)
    definition = some_written_definition(rng, lateness_us=rng.choice([0, 5 * MINUTE, 400 * DAY]))
    state = Reconciliation(definition)
    log = Log()
    decision = state.define(definition, "command-1")
    log.add(decision.events)
    transactions = some_transactions(rng, rng.randint(4, 16))
    # Drawn apart: the worlds are the same with people and without.
    theirs = random.Random(f"people {seed}")
    if people and theirs.random() < 0.5:
        transactions += corrected(theirs, transactions, theirs.randint(1, 4))
    transactions.sort(key=lambda one: one.occurred_at + rng.randint(0, 15) * MINUTE)
    again = [*transactions, *rng.sample(transactions, k=len(transactions) // 3)]
    for chunk in in_chunks(rng, again):
        offsets = {PLACE: (log.next_offset, log.next_offset + len(chunk))}
        log.next_offset += len(chunk)
        decision = state.advance(Chunk(chunk, offsets=offsets, caught_up=rng.random() < 0.8))
        log.add(decision.events, decision.journal)
        if people and theirs.random() < 0.3:
            log.add(ask(theirs, state).events)
        if redefined and rng.random() < 0.1:
            other = some_written_definition(rng, lateness_us=5 * MINUTE)
            decision = state.define(other, f"command-{state.version}")
            log.add(decision.events)
    if state.paused:
        log.add(state.decide(Resume(), f"command-{state.version}").events)
    log.add(state.finish().events)
    for _ in range(theirs.choice([0, 0, 3]) if people else 0):
        log.add(ask(theirs, state).events)
    if state.paused:
        log.add(state.decide(Resume(), f"command-{state.version}").events)
    return log, state


def ask(rng: random.Random, state: Reconciliation) -> Decision:
    """Let somebody ask for something; some of it cannot be done."""
    book, command_id = state.book, f"command-{state.version}"
    asked: list[AnyCommand] = [Resume() if state.paused else Pause("a look at it")]
    asked += [ConfirmMatch(one) for one, of in book.suggestions.items() if of.single]
    asked += [RejectMatch(one, "no") for one in book.suggestions]
    asked += [reversal(state, known) for known in book.known[0].values() if type(known) is Settled]
    legs = [[one for one in side.values() if isinstance(one, Leg)] for side in book.known]
    if all(legs):
        ids = [[rng.choice(of_side).transaction_id] for of_side in legs]
        asked += [MatchByHand(ids[0], ids[1], "by hand")] * 2
    asked.append(ConfirmMatch("no-such-suggestion"))
    asked += [a_run(rng, state)] * 2
    asked += [rng.choice([CancelRun, RetryRun])(one, "so") for one in state.runs.by_id]
    command = rng.choice(asked)
    try:
        return state.decide(command, command_id)
    except CannotBeDone as refusal:
        return state.refuse(command_id, type(command).__name__, refusal)


def a_run(rng: random.Random, state: Reconciliation) -> StartRun:
    """A run over some of what is open, or will be."""
    instants = [leg.occurred_at for leg in state.book.open_legs()] or [START]
    begin = rng.choice(instants) + rng.choice([0, -MINUTE, 1])
    end = max(instants) + rng.choice([1, MINUTE, -MINUTE])
    return StartRun(instant_text(begin), instant_text(end), "a run")


def reversal(state: Reconciliation, settled: Settled) -> ReverseMatch:
    ids = [
        [state.book.unpack(packed).transaction_id for packed in settled.packed(side)]
        for side in (0, 1)
    ]
    identity = match_id(
        state.tenant_id, state.reconciliation_id, settled.rule, *ids, settled.newest_ms
    )
    return ReverseMatch(identity, *ids, "a mistake")
