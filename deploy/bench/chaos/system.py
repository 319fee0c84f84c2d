"""The real system of a chaos run: services, a proxy on every line, every role as a process."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg

from connectors.postgres import inbox
from connectors.postgres.connections import connect, connect_as_owner
from connectors.postgres.lease import read_lease
from connectors.postgres.migrations import migrate
from deploy.bench.chaos.load import HOLD_SECONDS
from deploy.bench.chaos.plan import FLOWS, KAFKA_LINK, ROLES
from deploy.bench.chaos.processes import RUN, Keeper, KeptProcess
from deploy.embedded import TOPICS, EmbeddedStack
from deploy.kafka.distribution import Distribution
from deploy.proxy import HOST, TcpProxy
from domain.errors import SettlerError

PARTITIONS = 4
LEASE_SECONDS = 1.0
READY_SECONDS = 120.0
_POLL_SECONDS = 0.05

#: Role (`flow`, `projections`, `publish`) → the command that runs it.
Commands = Mapping[str, Sequence[str]]


def commands(flow_processes: int = 1) -> Commands:
    """The commands of `settler run`, with a flow that is a cluster of so many processes."""
    own = {role: (*RUN, role) for role in ("flow", "projections", "publish")}
    return own | {"flow": (*own["flow"], "--processes", str(flow_processes))}


class ChaosFailed(SettlerError):
    """A run could not be carried through; nothing is said about who was to be judged."""

    code = "chaos.failed"


class ChaosSystem:
    """Postgres, broker, two flows, projector and publisher, each reached through proxies.

    Args:
        commands: What runs each role; a test puts a damaged one in.
        apache_kafka: Files of an Apache Kafka to run as the broker; None: the embedded one.

    Attributes:
        topic_prefix: Of the topics.
        links: Every line between two parts, by name; `kafka` is that of all to the broker.
    """

    def __init__(self, commands: Commands, apache_kafka: Distribution | None = None) -> None:
        # Its topics come once the broker's proxy knows the port behind it.
        self.stack = EmbeddedStack(
            valkey=False, topic_prefix=None, partitions=PARTITIONS, apache_kafka=apache_kafka
        )
        self.topic_prefix = "settler"
        self.links: dict[str, TcpProxy] = {}
        self._commands = commands
        self._keeper: Keeper | None = None

    @contextmanager
    def running(self) -> Iterator["ChaosSystem"]:
        """Start everything; it is gone after the block."""
        with ExitStack() as opened:
            kafka = opened.enter_context(TcpProxy(0))
            self.links[KAFKA_LINK] = kafka
            self.stack.broker.advertised_port = kafka.port
            opened.enter_context(self.stack)
            kafka.target_port = self.stack.broker.port
            topics = [f"{self.topic_prefix}.{name}" for name in TOPICS]
            self.stack.broker.create_topics(topics, PARTITIONS)
            with connect_as_owner(self.url) as connection:
                migrate(connection)
            for role in ROLES:
                self.links[f"{role}/postgres"] = opened.enter_context(
                    TcpProxy(self.stack.postgres.port)
                )
            self._keeper = Keeper([self._process(name) for name in ROLES])
            self._keeper.start()
            try:
                yield self
            finally:
                self._keeper.stop()

    @property
    def url(self) -> str:
        """The database's own address, past every proxy."""
        return self.stack.postgres.url()

    @property
    def keeper(self) -> Keeper:
        """Who starts what ends."""
        assert self._keeper is not None, "only while it is running"
        return self._keeper

    @property
    def kafka_config(self) -> dict[str, str]:
        """What a Kafka client needs."""
        return {"bootstrap.servers": f"{HOST}:{self.links[KAFKA_LINK].port}"}

    def operator(self) -> "psycopg.Connection[Any]":
        """Connect as an operator, who sees every tenant, past every proxy."""
        return connect(self.url, "operator", "settler-chaos")

    def leading_flow(self) -> KeptProcess | None:
        """The flow that holds the lease; None while nobody that runs does."""
        try:
            with self.operator() as connection:
                holder = read_lease(connection, "flow").holder
        except psycopg.OperationalError:
            return None
        pid = holder.split(":")[1] if holder is not None else ""
        flows = [self.keeper.processes[name] for name in FLOWS]
        return next((one for one in flows if str(one.pid) == pid), None)

    def define(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Submit definitions and wait until the flow has decided them.

        Raises:
            ChaosFailed: It has not, in a long time.
        """
        ids = []
        with connect_as_owner(self.url) as connection:
            for definition in definitions:
                command_id = str(uuid.uuid4())
                scope = str(definition["tenant_id"]), str(definition["reconciliation_id"])
                payload: dict[str, Any] = {"definition": definition}
                inbox.submit(
                    connection,
                    inbox.Command(command_id, *scope, "define", payload, "chaos", command_id),
                )
                ids.append(command_id)
            asked = "SELECT count(*) FROM inbox WHERE status <> 'done' AND command_id = ANY (%s)"
            wait_until(
                lambda: connection.execute(asked, (ids,)).fetchone() == (0,),
                READY_SECONDS,
                "the definitions to be decided",
            )

    def heal(self) -> None:
        """Restore every line and wake every process."""
        for link in self.links.values():
            link.restore()
        with self.keeper.lock:
            for one in self.keeper.processes.values():
                one.wake()

    def _process(self, name: str) -> KeptProcess:
        role = "flow" if name in FLOWS else name
        port = urlsplit(self.url).port
        through = self.url.replace(f":{port}/", f":{self.links[f'{name}/postgres'].port}/")
        environment = self.stack.environment() | {
            "SETTLER_DATABASE_URL": through,
            "SETTLER_KAFKA_BOOTSTRAP_SERVERS": self.kafka_config["bootstrap.servers"],
            "SETTLER_METRICS_PORT": "0",
            "SETTLER_TOPIC_PREFIX": self.topic_prefix,
            "SETTLER_LEASE_SECONDS": str(LEASE_SECONDS),
            "SETTLER_HOLD_SECONDS": str(HOLD_SECONDS),
            "SETTLER_LOG_FORMAT": "json",
        }
        return KeptProcess(
            name, self._commands[role], environment, self.stack.children, self.stack.data_dir
        )


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask again and again until it holds.

    Raises:
        ChaosFailed: It does not in that time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise ChaosFailed(f"waited {seconds:.0f} s for {what}")
        time.sleep(_POLL_SECONDS)
