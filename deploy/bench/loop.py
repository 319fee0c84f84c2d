"""A peer: the loop one writes by hand when nothing has to survive a crash.

One process: consume, decode with msgspec, one dict of what waits for its other leg, COPY of one row
a match. It checks nothing, remembers no ids, saves no offsets and writes no event.

    python -m deploy.bench.loop '{"servers": …}'
"""

import time
import uuid

import psycopg
from confluent_kafka import Consumer, TopicPartition

from deploy.bench.peer import COLUMNS, Record, decode, read_task, report

MESSAGES = 5_000
ROWS = 5_000
NOW = "2026-01-01T00:00:00Z"


def main() -> None:
    """Read both topics to their end and write every match."""
    task = read_task()
    connection = psycopg.connect(task.database_url)
    consumer = Consumer({"bootstrap.servers": task.servers, "group.id": "loop"})
    consumer.assign(
        [
            TopicPartition(topic, number, 0)
            for topic in task.topics
            for number in range(task.partitions)
        ]
    )
    source_topic = task.topics[0]
    waiting: dict[str, Record] = {}
    lines: list[str] = []
    matches = 0
    started_at = 0.0
    cpu_at_start = 0.0
    while matches + len(lines) < task.pairs or lines:
        messages = consumer.consume(MESSAGES, 0.05)
        if messages and not started_at:
            started_at, cpu_at_start = time.time(), time.process_time()
        for message in messages:
            one = decode(message.value() or b"")
            scope = f"{one.tenant_id}\t{one.reconciliation_id}\t{one.reference}"
            other = waiting.pop(scope, None)
            if other is None:
                waiting[scope] = one
            elif other.amount == one.amount and other.currency == one.currency:
                is_source = message.topic() == source_topic
                source, target = (one, other) if is_source else (other, one)
                lines.append(
                    f"{uuid.uuid4()}\t{one.tenant_id}\t{one.reconciliation_id}\torder-reference\t"
                    f"confirmed\t{{{source.transaction_id}}}\t{{{target.transaction_id}}}\t"
                    f"{one.currency}\t{source.amount}\t{target.amount}\t0\t{NOW}\n"
                )
        if len(lines) >= ROWS or (lines and not messages) or matches + len(lines) >= task.pairs:
            with connection.cursor().copy(f"COPY peer_matches ({COLUMNS}) FROM STDIN") as copy:
                copy.write("".join(lines))
            connection.commit()
            matches += len(lines)
            lines.clear()
    report(started_at, time.time(), cpu_at_start, matches)


if __name__ == "__main__":
    main()
