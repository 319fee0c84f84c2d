"""Apache Kafka as a service: one node in KRaft mode that keeps its data, small and quick to start.

Configuration: "Apache Kafka documentation", section Broker Configs. What is set here beyond the
addresses makes one node enough and has what normally takes minutes happen within seconds.
"""

import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from deploy.children import ChildProcesses
from deploy.kafka.distribution import Distribution
from deploy.kafka.service import KafkaService
from deploy.service import HOST, EmbeddedError, free_port

_FORMAT_SECONDS = 120
# A node that was killed may only come back once its former session has run out.
_SETTINGS: Mapping[str, str] = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "2500",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.backoff.ms": "500",
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "500",
    "num.io.threads": "2",
    "num.network.threads": "2",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
}
# Started anew for a few minutes at a time: the second compiler would cost more than it gives.
_JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class ApacheKafka(KafkaService):
    """One node of an Apache Kafka cluster; its data outlives it.

    Args:
        distribution: Kafka's files.
        controller: The node that is the cluster's controller, which has been started before; None:
            this one is, beside being a broker.
        node_id: Its number within the cluster.
    """

    ready_seconds = 120.0  # a JVM on a busy machine
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        folder: Path,
        children: ChildProcesses,
        distribution: Distribution,
        *,
        controller: "ApacheKafka | None" = None,
        node_id: int = 1,
    ) -> None:
        super().__init__(folder, children)
        self.node_id = node_id
        self.controller = controller or self
        self.controller_port = 0
        self._distribution = distribution
        self._internal_port = 0

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def prepare(self) -> None:
        """Write its settings and format its folder, once: what is in there is never lost."""
        super().prepare()
        if not self._port_is_proven:
            self.port = self.port or free_port()
            self._internal_port = free_port()
            self.controller_port = free_port() if self.controller is self else 0
        self._settings_path.write_text(
            "".join(f"{name}={value}\n" for name, value in self._settings().items())
        )
        if not (self.folder / "data" / "meta.properties").exists():
            own_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
            self.cluster_id = own_id if self.controller is self else self.controller.cluster_id
            self._format()

    def command(self) -> list[str]:
        """Return the command."""
        log_settings = resources.files("deploy.kafka").joinpath("log4j2.properties")
        options = (*_JVM, f"-Dlog4j2.configurationFile={log_settings}")
        return [
            *self._distribution.command("kafka.Kafka", *options),
            str(self._settings_path),
        ]

    @property
    def _settings_path(self) -> Path:
        return self.folder / "server.properties"

    def _settings(self) -> dict[str, str]:
        roles = "broker,controller" if self.controller is self else "broker"
        addresses = {"CLIENTS": self.port, "INTERNAL": self._internal_port}
        advertised = addresses | {"CLIENTS": self.advertised_port or self.port}
        if self.controller is self:
            addresses["CONTROLLER"] = self.controller_port
        names = ("CLIENTS", "INTERNAL", "CONTROLLER")
        voter = f"{self.controller.node_id}@{HOST}:{self.controller.controller_port}"
        return {
            **_SETTINGS,
            "process.roles": roles,
            "node.id": str(self.node_id),
            "controller.quorum.voters": voter,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "INTERNAL",
            "listeners": _listeners(addresses),
            "advertised.listeners": _listeners(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
            "log.dirs": str(self.folder / "data"),
        }

    def _format(self) -> None:
        options = ("format", "-t", self.cluster_id, "-c", str(self._settings_path))
        done = subprocess.run(
            [*self._distribution.command("kafka.tools.StorageTool", *_JVM), *options],
            capture_output=True,
            text=True,
            timeout=_FORMAT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise EmbeddedError(f"Kafka could not format {self.folder}: {done.stderr[-500:]}")


def _listeners(addresses: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in addresses.items())
