"""The product as the demo runs it: embedded services, and every role as a child process."""

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from connectors.postgres import tenants
from connectors.postgres.connections import connect, connect_as_owner
from connectors.postgres.migrations import migrate
from connectors.settings import PREFIX
from deploy.demo.client import ApiClient, ApiUnavailable
from deploy.embedded import EmbeddedStack
from deploy.service import HOST, free_port
from deploy.supervisor import ROLES, Supervisor, lease_holder, role_program
from domain.errors import SettlerError

START_SECONDS = 60.0
POLL_SECONDS = 0.1
LOG_LINES = 12

Say = Callable[[str], None]


class DemoFailed(SettlerError):
    """The demo could not be carried through; nothing is said about its result."""

    code = "demo.failed"


class Product:
    """Everything that runs during a demo; leaving `running` ends all of it.

    Args:
        tenant_ids: Tenants to create, each with an API key.
        api_port: Where the API listens; 0 takes a free port.
        say: Told what is being started.
    """

    def __init__(self, tenant_ids: Iterable[str], api_port: int, say: Say) -> None:
        self._tenant_ids = list(tenant_ids)
        self._say = say
        self._stack = EmbeddedStack()
        self._supervisor: Supervisor | None = None
        self._exit_code: int | None = None
        self.url = f"http://{HOST}:{api_port or free_port()}"
        self.keys: dict[str, str] = {}

    @contextmanager
    def running(self) -> Iterator["Product"]:
        """Start services and roles; they are up when the block begins and gone after it."""
        self._say("starting Postgres, the broker and Valkey")
        with self._stack:
            self._migrate()
            self._say(f"starting {', '.join(_roles())}")
            with self._log_path.open("wb") as output:
                environment = self._environment()
                self._supervisor = Supervisor(
                    [role_program(role) for role in _roles()],
                    environment=environment,
                    output=output,
                )
                thread = threading.Thread(target=self._supervise, name="supervisor")
                thread.start()
                try:
                    self._wait_for_api()
                    yield self
                finally:
                    self._supervisor.stop()
                    thread.join()

    @property
    def kafka_config(self) -> dict[str, str]:
        """What a Kafka client needs."""
        return {"bootstrap.servers": self._stack.broker.bootstrap_servers}

    @property
    def topic_prefix(self) -> str:
        """Of the topics."""
        assert self._stack.topic_prefix is not None, "this stack has topics"
        return self._stack.topic_prefix

    def connect(self) -> "psycopg.Connection[Any]":
        """Connect to the database as an operator, who sees every tenant."""
        return connect(self._stack.postgres.url(), "operator", "settler-demo")

    def client(self, tenant_id: str) -> ApiClient:
        """A client of the API with a tenant's key."""
        return ApiClient(self.url, self.keys[tenant_id])

    def check(self) -> None:
        """Look after the roles.

        Raises:
            DemoFailed: One of them cannot be kept running.
        """
        if self._exit_code is not None:
            raise DemoFailed(f"a role could not be kept running; the last lines:\n{self._tail()}")

    def define(self, definition: dict[str, Any]) -> None:
        """Define a reconciliation through the API and wait until the flow has taken it up.

        Raises:
            DemoFailed: It was refused, or not decided in time.
        """
        client = self.client(definition["tenant_id"])
        command = client.post("/api/v1/reconciliations", definition)
        deadline = time.monotonic() + START_SECONDS
        while command["status"] == "pending" and time.monotonic() < deadline:
            self.check()
            time.sleep(POLL_SECONDS)
            command = client.get(f"/api/v1/commands/{command['command_id']}")
        if command["status"] != "done":
            raise DemoFailed(
                f"the definition of {definition['reconciliation_id']} is {command['status']}: "
                f"{command['outcome']}; the last lines:\n{self._tail()}"
            )

    @property
    def _log_path(self) -> Path:
        return self._stack.data_dir / "roles.log"

    def _migrate(self) -> None:
        with connect_as_owner(self._stack.postgres.url()) as connection:
            migrate(connection)
        with self.connect() as connection:
            for tenant_id in self._tenant_ids:
                tenants.create_tenant(connection, tenant_id, tenant_id.capitalize())
                self.keys[tenant_id] = tenants.create_key(connection, tenant_id, "demo", [], "").key

    def _environment(self) -> dict[str, str]:
        """The roles' environment: this stack, whatever else the person has set or put in .env."""
        others = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        ours = self._stack.environment()
        for role in ("FLOW", "PROJECTIONS", "API"):
            ours[f"{PREFIX}DATABASE_URL_{role}"] = ours[f"{PREFIX}DATABASE_URL"]
        return {
            **others,
            **ours,
            "SETTLER_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "SETTLER_API_HOST": HOST,
            "SETTLER_API_PORT": self.url.rpartition(":")[2],
            "SETTLER_METRICS_PORT": "0",
            "SETTLER_LOG_FORMAT": "console",
            "SETTLER_LEASE_HOLDER": lease_holder(),
        }

    def _supervise(self) -> None:
        assert self._supervisor is not None, "it is made before this thread"
        code = self._supervisor.run()
        if code:
            self._exit_code = code

    def _wait_for_api(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.check()
            try:
                ApiClient(self.url).get("/health/ready")
            except ApiUnavailable as exc:
                if time.monotonic() > deadline:
                    raise DemoFailed(f"the API is not up: {exc}\n{self._tail()}") from exc
                time.sleep(POLL_SECONDS)
            else:
                return

    def _tail(self) -> str:
        lines = self._log_path.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-LOG_LINES:])


def _roles() -> list[str]:
    """The roles this release has; publishing came after the others."""
    return [
        role for role in ROLES if role != "publish" or importlib.util.find_spec("flows.publish")
    ]
