"""What a benchmark runs on: an embedded stack, fresh databases and topics, roles as processes."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from connectors.postgres import inbox
from connectors.postgres.connections import connect_as_owner
from connectors.postgres.migrations import migrate
from connectors.settings import variable
from deploy.bench.measured import Role, cpu_seconds, until
from deploy.children import ChildProcesses
from deploy.embedded import TOPICS, EmbeddedStack
from deploy.kafka.distribution import Distribution

PARTITIONS = 8
DEFINING_SECONDS = 30.0
_TEMPLATE = "bench_template"
_EMPTY = "bench-empty"


class Stage:
    """An embedded stack whose databases start with every reconciliation defined, nothing else.

    Args:
        apache_kafka: As `EmbeddedStack` takes it.
    """

    def __init__(self, apache_kafka: Distribution | None = None) -> None:
        self._stack = EmbeddedStack(
            valkey=False, topic_prefix=None, partitions=PARTITIONS, apache_kafka=apache_kafka
        )
        self._names = 0

    @contextmanager
    def set_up(self, definitions: Sequence[Mapping[str, Any]]) -> Iterator[None]:
        """Start the stack and have the flow itself decide the definitions, once for all."""
        with self._stack:
            self.create_topics(_EMPTY)
            self._administer("CREATE DATABASE {}", _TEMPLATE)
            url = self._stack.postgres.url(_TEMPLATE)
            with connect_as_owner(url) as connection:
                migrate(connection)
                for definition in definitions:
                    inbox.submit(connection, _define(definition))
                with self.role("flow", url, _EMPTY) as flow:
                    pending = "SELECT count(*) FROM inbox WHERE status = 'pending'"
                    for _ in until(DEFINING_SECONDS, "the definitions to be decided"):
                        flow.look()
                        if not number(connection, pending):
                            break
            yield

    @property
    def servers(self) -> str:
        """The broker's address."""
        return self._stack.broker.bootstrap_servers

    @property
    def children(self) -> ChildProcesses:
        """Starts processes that do not outlive this one."""
        return self._stack.children

    @property
    def folder(self) -> Path:
        """For logs; gone in the end."""
        return self._stack.data_dir

    def create_topics(self, prefix: str) -> None:
        """Create all topics of one prefix."""
        self._stack.broker.create_topics([f"{prefix}.{name}" for name in TOPICS], PARTITIONS)

    def service_cpu_seconds(self) -> dict[str, float]:
        """CPU that Postgres and the broker have used so far."""
        return {
            "postgres": cpu_seconds(self._stack.postgres.pid),
            "broker": cpu_seconds(self._stack.broker.pid),
        }

    @contextmanager
    def database(self) -> Iterator[str]:
        """A database of its own; gone afterwards, and its writes to disk with it."""
        self._names += 1
        name = f"bench_{self._names}"
        self._administer("CREATE DATABASE {} TEMPLATE {}", name, _TEMPLATE)
        try:
            yield self._stack.postgres.url(name)
        finally:
            self._administer("DROP DATABASE {} WITH (FORCE)", name)
            self._administer("CHECKPOINT")

    def role(
        self,
        name: str,
        url: str,
        prefix: str,
        arguments: Sequence[str] = (),
        folder: Path | None = None,
        **settings: str,
    ) -> Role:
        """Start `settler run NAME` on a database and the topics of a prefix.

        Args:
            arguments: What follows it.
            folder: Where it runs and its log goes; default the stage's.
            settings: Fields of `Settings` besides.
        """
        environment = {
            "SETTLER_KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "SETTLER_DATABASE_URL": url,
            "SETTLER_TOPIC_PREFIX": prefix,
            "SETTLER_METRICS_PORT": "0",
        }
        environment |= {variable(field): value for field, value in settings.items()}
        return Role(name, environment, self.children, folder or self.folder, arguments)

    def _administer(self, statement: str, *names: str) -> None:
        url = self._stack.postgres.url("postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def number(connection: "psycopg.Connection[Any]", query: str) -> int:
    """Run a query of one number; null counts as 0."""
    row = connection.execute(query).fetchone()
    return int(row[0] or 0) if row is not None else 0


def _define(definition: Mapping[str, Any]) -> inbox.Command:
    command_id = str(uuid.uuid4())
    scope = str(definition["tenant_id"]), str(definition["reconciliation_id"])
    payload: dict[str, Any] = {"definition": definition}
    return inbox.Command(command_id, *scope, "define", payload, "bench", command_id)
