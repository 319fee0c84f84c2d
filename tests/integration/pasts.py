"""Reconciliations with a past: decided day by day as the flow does, and stored as it stores."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
from psycopg import Connection

from connectors.postgres.records import DeadLetter, StreamCommit
from connectors.postgres.snapshots import save_snapshot
from connectors.postgres.writing import commit_flush
from domain.commands import CannotBeDone, ReverseMatch
from domain.decision import Decision
from domain.identity import match_id
from domain.matching.legs import Settled
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.replay import show_state
from domain.snapshots import FORMAT, snapshot
from domain.transactions import Rejection, Transaction, build_transaction
from tests.integration.postgres.commits import claim
from tests.unit.domain.cases import DAY, MINUTE, START, corrected, some_records
from tests.unit.domain.cases import some_written_definition as some_definition

TOPIC = "settler.transactions.source"
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass
class Past:
    """What was stored of one reconciliation.

    Attributes:
        shown: Version → the state as it was live.
        days: Version at the end of each day.
    """

    state: Reconciliation
    fence: int
    shown: dict[int, dict[str, object]] = field(default_factory=dict)
    days: list[int] = field(default_factory=list)
    offset: int = 0


def some_day(rng: random.Random, day: int, count: int) -> list[Transaction]:
    """That many transactions of a day, counted from BEGIN, ids unique."""
    found = []
    for side, fields in some_records(rng, count):
        occurred = str(fields["occurred_at"])
        moved = BEGIN + timedelta(days=day)
        text = moved.strftime("%Y-%m-%d") + occurred[10:]
        fields |= {"transaction_id": f"d{day}-{fields['transaction_id']}", "occurred_at": text}
        built = build_transaction(fields, side, None)
        assert isinstance(built, Transaction), built
        found.append(built)
    return found


def store_past(
    flow: Connection,
    seed: int,
    *,
    days: int = 4,
    snapshot_days: tuple[int, ...] = (1, 2),
    on_day: Callable[[Past, random.Random], None] | None = None,
) -> Past:
    """Decide and store some days of a reconciliation named `orders`, chunk by chunk."""
    rng = random.Random(seed)
    definition = some_definition(rng, lateness_us=10 * MINUTE)
    held = claim(flow, "acme", "orders")
    past = Past(Reconciliation(definition), held.fence)
    state = past.state
    _store(flow, past, 0, state.define(definition, f"define-{seed}"))
    for day in range(days):
        transactions = some_day(rng, day, 14)
        transactions += corrected(rng, transactions, 2)
        while transactions:
            size = rng.randint(1, 5)
            chunk, transactions = transactions[:size], transactions[size:]
            _advance(flow, past, chunk, START + (day * 24 + 15) * 60 * MINUTE)
            if rng.random() < 0.2:
                _advance(flow, past, chunk, START + (day * 24 + 15) * 60 * MINUTE)
        if on_day is not None:
            on_day(past, rng)
        _reverse_one(flow, past, rng, f"reverse-{seed}-{day}")
        base = state.version
        now_us = START + (day + 1) * DAY + 60 * MINUTE
        state.tick(Tick(now_us - DAY // 8, caught_up=False))
        _store(flow, past, base, state.tick(Tick(now_us, caught_up=True)))
        past.days.append(state.version)
        if day in snapshot_days:
            assert save_snapshot(
                flow, state.stream_id, state.version, FORMAT, snapshot(state), past.fence
            )
    return past


def _advance(flow: Connection, past: Past, chunk: list[Transaction], now_us: int) -> None:
    base = past.state.version
    first, past.offset = past.offset, past.offset + len(chunk)
    chunk = [msgspec.structs.replace(one, offset=first + place) for place, one in enumerate(chunk)]
    decision = past.state.advance(
        Chunk(
            chunk,
            [one.packed for one in chunk],
            {f"{TOPIC}/0": (first, past.offset)},
            0,
            now_us,
            caught_up=True,
        )
    )
    _store(flow, past, base, decision)


def _reverse_one(flow: Connection, past: Past, rng: random.Random, command_id: str) -> None:
    made = [one for one in past.state.book.known[0].values() if isinstance(one, Settled)]
    if not made or rng.random() < 0.3:
        return
    base = past.state.version
    one = rng.choice(made)
    ids = [
        sorted(past.state.book.unpack(packed).transaction_id for packed in one.packed(side))
        for side in (0, 1)
    ]
    named = match_id("acme", "orders", one.rule, ids[0], ids[1], one.newest_ms)
    try:
        decision = past.state.decide(ReverseMatch(named, *ids, "checked"), command_id)
    except CannotBeDone:
        return
    _store(flow, past, base, decision)


def _store(flow: Connection, past: Past, base: int, decision: Decision) -> None:
    state = past.state
    if not decision.events:
        return
    commit = StreamCommit(
        state.stream_id,
        state.tenant_id,
        state.reconciliation_id,
        base,
        state.version,
        past.fence,
        {f"{TOPIC}/0": past.offset},
        None,
        state.definition_version,
        decision.events,
        decision.journal,
        {"correlation_id": f"c-{base}"},
        [
            DeadLetter(
                TOPIC, 0, one.offset, *_ids_of(one), one.side, one.raw, one.code, one.message
            )
            for one in decision.rejections
        ],
    )
    commit_flush(flow, [commit], [])
    past.shown[state.version] = show_state(state)


def _ids_of(one: Rejection) -> tuple[str | None, str | None, str | None]:
    return one.tenant_id, one.reconciliation_id, one.transaction_id
