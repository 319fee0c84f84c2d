"""What a broker of either kind is to those who start it: a service that speaks Kafka's protocol."""

from pathlib import Path
from typing import TYPE_CHECKING

from deploy.children import ChildProcesses
from deploy.service import HOST, EmbeddedError, Service, answers

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient


class KafkaService(Service):
    """A broker on 127.0.0.1.

    Attributes:
        advertised_port: Where it sends its clients, such as a proxy's port; None: to itself. Set
            before it starts.
        cluster_id: The cluster's id, from its first start on.
    """

    name = "broker"

    def __init__(self, folder: Path, children: ChildProcesses, port: int = 0) -> None:
        super().__init__(folder, children, port)
        self.cluster_id = ""
        self.advertised_port: int | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The address for Kafka clients, host:port."""
        return f"{HOST}:{self.port}"

    def ready(self) -> bool:
        """Say whether it answers a metadata request."""
        from confluent_kafka import KafkaException

        if not answers(self.port):
            return False
        try:
            self.admin().list_topics(timeout=2)
        except KafkaException:
            return False
        return True

    def create_topics(self, names: list[str], partitions: int, replicas: int = 1) -> None:
        """Create topics that do not exist yet.

        Raises:
            EmbeddedError: The broker refused one.
        """
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import NewTopic

        admin = self.admin()
        existing = admin.list_topics(timeout=5).topics
        missing = [NewTopic(n, partitions, replicas) for n in names if n not in existing]
        if not missing:
            return
        for name, future in admin.create_topics(missing).items():
            try:
                future.result(timeout=30)
            except KafkaException as exc:
                raise EmbeddedError(f"The broker refused to create topic {name}: {exc}") from exc

    def admin(self) -> "AdminClient":
        """Return a client that administers it."""
        from confluent_kafka.admin import AdminClient

        quiet = {"log_level": 0, "socket.timeout.ms": 2000}
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, **quiet})
