"""The flow and the projections beside a generated load, as the tests on a real Kafka play them."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from connectors.settings import Settings
from connectors.synthetic.topics import topic_names
from deploy.verdict import differences
from tests.integration.flow.running import (
    Load,
    Role,
    define,
    eventually,
    gaps_of,
    verify,
    wait_until_defined,
)

Place = tuple[str, int]
PERIOD_DAYS = 2
OWN = {"SETTLER_HOLD_SECONDS": "2", "SETTLER_LEASE_SECONDS": "1"}


class Play:
    """One flow, its projections, its load, and questions about where they are."""

    def __init__(
        self,
        environment: dict[str, str],
        settings: Settings,
        conn: psycopg.Connection,
        folder: Path,
        transactions: int = 4_000,
        **fields: str,
    ) -> None:
        settings = settings.model_copy(update=fields)
        own = {f"SETTLER_{name.upper()}": value for name, value in fields.items()}
        self.environment = environment | OWN | own
        self.conn = conn
        self.config = settings.kafka_config()
        self.topics = topic_names(settings.topic_prefix)
        self.flow = Role(self.environment, folder / "flow.log", "flow")
        self.projections = Role(self.environment, folder / "projections.log", "projections")
        # What a broker's end cuts off is sent again, once and in its order.
        sure = {"enable.idempotence": True, "log_level": 0}
        self.load = Load(
            transactions, 5, self.config | sure, settings.topic_prefix, period_days=PERIOD_DAYS
        )
        self.admin = AdminClient({**self.config, "log_level": 0})
        self.wrong = "nobody has looked"

    def begin(self) -> None:
        """Start both, and define what the load speaks of."""
        self.projections.start()
        self.flow.start()
        for definition in self.load.patient_definitions(idle_seconds=1):
            define(self.conn, definition)
        wait_until_defined(self.conn)

    def end(self) -> None:
        for role in (self.flow, self.projections):
            if role.process is not None and role.process.poll() is None:
                role.kill()

    def ends_in_the_truth(self) -> None:
        """Wait for the truth of the whole load, and for `settler verify` to agree."""
        try:
            eventually(90, "the truth", self._is_the_truth)
        except AssertionError as exc:
            ends = self.ends(OffsetSpec.latest())
            unread = {place: end for place, end in ends.items() if self.saved().get(place) != end}
            told = f"{self.wrong}; unread to {unread}; {self.flow.log()[-2000:]}"
            raise AssertionError(f"{exc}; {told}") from exc
        assert gaps_of(self.conn) == []
        assert self.flow.stop() == 0, self.flow.log()[-2000:]
        report = verify(self.environment)
        assert report["exit_code"] == 0, report["differences"][:3]

    def _is_the_truth(self) -> bool:
        found = differences(self.conn, self.load.facts)
        self.wrong = "; ".join(str(one) for one in found[:5])
        return not found

    def ends(self, want: OffsetSpec) -> dict[Place, int]:
        """The first or last offsets of all partitions."""
        places = [TopicPartition(t, p) for t in self.topics for p in range(4)]
        answers = self.admin.list_offsets(dict.fromkeys(places, want), request_timeout=10)
        return {(at.topic, at.partition): one.result().offset for at, one in answers.items()}

    def saved(self) -> dict[Place, int]:
        """What the flow has committed of each partition."""
        query = "SELECT topic, partition, next_offset FROM source_checkpoints"
        return {(topic, part): offset for topic, part, offset in self.conn.execute(query)}

    def has_read_all(self) -> bool:
        """Whether the flow has committed everything that was sent."""
        self.load.arrive()
        ends = self.ends(OffsetSpec.latest())
        return all(self.saved().get(place, 0) >= end for place, end in ends.items())

    def configure(self, **values: str) -> None:
        """Set configurations of both topics, by their names with `_` for `.`."""
        entries = [
            ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for name, value in values.items()
        ]
        resources = [
            ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
            for topic in self.topics
        ]
        for done in self.admin.incremental_alter_configs(resources).values():
            done.result(10)

    def settler(self, *arguments: str) -> int:
        """Run a command as an operator would; its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", *arguments],
            env={**self.environment, "PATH": os.environ["PATH"]},
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode
