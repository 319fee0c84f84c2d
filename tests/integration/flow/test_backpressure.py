"""A Postgres that commits nothing: the flow waits, and what it holds is bounded.

What bounds it: librdkafka reads 4 MiB ahead of each partition; the writer's queue has 24 batches,
or 64 MiB of fewer and the one that exceeds it, and as much may be in the writer's hands.
"""

import threading
import urllib.request
from contextlib import contextmanager

import psycopg
import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from connectors.postgres.connections import connect_as_owner
from connectors.postgres.migrations import migrate
from deploy.service import free_port
from tests.integration.flow.running import Role, define, eventually, wait_until_defined

RECORDS = 24_000
RECORD_BYTES = 16_000
SCOPE = {"tenant_id": "acme", "reconciliation_id": "orders"}
DEFINITION = {
    **SCOPE,
    "name": "orders",
    "source": {"system": "shop"},
    "target": {"system": "bank"},
    "window": {"idle": "PT1S"},
    "rules": [
        {
            "name": "reference",
            "match_type": "one_to_one",
            "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
        }
    ],
}


# The embedded broker leaves a partition's last batch out of what it says is the end.
SEEN = RECORDS * 0.6


class Flow:
    """A flow, and what it says of itself."""

    def __init__(self, stack, folder):
        self.url = stack.environment()["SETTLER_DATABASE_URL"]
        self.stack = stack
        self.port = free_port()
        own = {"SETTLER_METRICS_PORT": str(self.port), "SETTLER_LOG_FORMAT": "console"}
        self.environment = stack.environment() | own
        self.folder = folder

    @contextmanager
    def running(self):
        with connect_as_owner(self.url) as conn:
            migrate(conn)
        with psycopg.connect(self.url, autocommit=True) as conn:
            self.role = Role(self.environment, self.folder / "flow.log", "flow")
            with self.role.running():
                define(conn, DEFINITION)
                wait_until_defined(conn)
                eventually(
                    20, "it has caught up", lambda: "settler_flow_lag_messages" in self.all()
                )
                yield self

    def all(self):
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found = {}
        for family in families:
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def metric(self, name):
        return self.all().get(name, 0.0)

    def send(self, numbers):
        """Put records of 16 kB into all partitions."""
        broker = self.stack.broker.bootstrap_servers
        producer = Producer({"bootstrap.servers": broker, "queue.buffering.max.kbytes": 1_000_000})
        filler = ",".join(f'"a{n}":"{"x" * 500}"' for n in range(RECORD_BYTES // 500))
        for number in numbers:
            side = ("source", "target")[number % 2]
            record = (
                f'{{"tenant_id":"acme","reconciliation_id":"orders","transaction_id":"{number}",'
                f'"amount":"1.00","currency":"EUR","occurred_at":"2026-01-05T09:00:00Z",'
                f'"reference":"{number // 2}","attributes":{{{filler}}}}}'
            )
            producer.produce(f"settler.transactions.{side}", record.encode())
            producer.poll(0)
        assert producer.flush(60) == 0


@pytest.fixture
def flow(own_stack, tmp_path):
    with Flow(own_stack, tmp_path).running() as running:
        yield running


def stands_still(read):
    """Whether a figure has not moved for a while."""
    pause = threading.Event()
    before = read()
    pause.wait(1.5)
    return read() == before


def test_commits_that_stand_still_hold_the_flow_up_within_bounds(flow):
    with psycopg.connect(flow.url) as blocking:
        # Reads and commands go on, as with a server whose disk takes nothing: the worst for memory.
        blocking.execute("LOCK TABLE event_store IN EXCLUSIVE MODE")
        flow.send(range(RECORDS // 2))
        taken = "settler_flow_records_total"
        queued = "settler_flow_write_queue_batches"
        eventually(60, "the queue is full", lambda: flow.metric(queued) == 24)
        eventually(60, "it takes no more", lambda: stands_still(lambda: flow.metric(taken)))
        held = flow.metric(taken)
        assert held < RECORDS // 2
        flow.send(range(RECORDS // 2, RECORDS))
        eventually(
            30,
            "the lag is seen",
            lambda: flow.metric("settler_flow_lag_messages") > SEEN,
        )
        assert stands_still(lambda: flow.metric(taken))
        assert flow.metric(taken) == held, "what waits, waits in the broker"
        blocking.rollback()
    eventually(90, "all taken", lambda: flow.metric(taken) == RECORDS)
    eventually(30, "all committed", lambda: flow.metric("settler_flow_lag_messages") == 0)
    assert flow.role.stop() == 0, flow.role.log()[-2000:]
