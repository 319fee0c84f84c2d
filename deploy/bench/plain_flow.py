"""A peer: the Bytewax flow anyone would write first.

Step by step as Bytewax's guides have it: `KafkaSource` on both topics, by the operator they say
typical use should prefer; each record checked by a pydantic model; `op.key_on`, `op.join`; a sink
that inserts a row a match, one transaction for each batch it is given. No recovery: what it had
joined is lost when it ends.

    python -m deploy.bench.plain_flow '{"servers": …}'
"""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import bytewax.operators as op
import psycopg
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from pydantic import BaseModel
from typing_extensions import override

from deploy.bench.peer import COLUMNS, Task, read_task, report

INSERT = f"INSERT INTO peer_matches ({COLUMNS}) VALUES ({', '.join(['%s'] * 12)})"  # noqa: S608


class Clock:
    """When the first record was taken in."""

    started_at = 0.0
    cpu_at_start = 0.0


class Record(BaseModel):
    """A transaction."""

    tenant_id: str
    reconciliation_id: str
    transaction_id: str
    reference: str
    amount: Decimal
    currency: str
    occurred_at: datetime


def parsed(message: Any) -> Record:
    """Decode and check a message."""
    if not Clock.started_at:
        Clock.started_at, Clock.cpu_at_start = time.time(), time.process_time()
    return Record.model_validate_json(message.value)


def key(one: Record) -> str:
    """What both legs share."""
    return f"{one.tenant_id}:{one.reconciliation_id}:{one.reference}"


def agree(joined: tuple[str, tuple[Record, ...]]) -> bool:
    """Whether the two legs are of the same money."""
    source, target = joined[1]
    return source.currency == target.currency and source.amount == target.amount


def row(joined: tuple[str, tuple[Record, ...]]) -> tuple[object, ...]:
    """Make the row of a match."""
    source, target = joined[1]
    return (
        uuid.uuid4(), source.tenant_id, source.reconciliation_id, "order-reference", "confirmed",
        [source.transaction_id], [target.transaction_id], source.currency, source.amount,
        target.amount, target.amount - source.amount, datetime.now(UTC),
    )  # fmt: skip


class MatchesPart(StatelessSinkPartition[tuple[object, ...]]):
    """Inserts the rows it is given together."""

    def __init__(self, task: Task) -> None:
        self._connection = psycopg.connect(task.database_url)
        self.written = 0

    @override
    def write_batch(self, items: list[tuple[object, ...]]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(INSERT, items)
        self.written += len(items)

    @override
    def close(self) -> None:
        self._connection.close()


class MatchesSink(DynamicSink[tuple[object, ...]]):
    """The table of matches."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.parts: list[MatchesPart] = []

    @override
    def build(self, step_id: str, worker_index: int, worker_count: int) -> MatchesPart:
        self.parts.append(MatchesPart(self._task))
        return self.parts[-1]


def build_flow(task: Task, sink: MatchesSink) -> Dataflow:
    """Wire the flow; it ends at the end of the topics."""
    flow = Dataflow("plain")
    sides = []
    for name, topic in zip(("source", "target"), task.topics, strict=True):
        messages = kop.input(name, flow, brokers=[task.servers], topics=[topic], tail=False)
        op.raises(f"errors_{name}", messages.errs)
        records = op.map(f"parse_{name}", messages.oks, parsed)
        sides.append(op.key_on(f"key_{name}", records, key))
    matches = op.filter("agree", op.join("join", *sides), agree)
    op.output("matches", op.map("row", matches, row), sink)
    return flow


def main() -> None:
    """Read both topics to their end and write every match."""
    task = read_task()
    sink = MatchesSink(task)
    cast("Callable[..., None]", run_main)(build_flow(task, sink))  # Bytewax does not type it
    ended_at = time.time()
    report(Clock.started_at, ended_at, Clock.cpu_at_start, sum(part.written for part in sink.parts))


if __name__ == "__main__":
    main()
