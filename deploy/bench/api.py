"""The benchmark of the API: what it answers under load, beside a bare route over the same query.

Both run on one embedded Postgres, in processes of their own, one after the other in each round;
the load comes from a third process. So on two cores three of them compete, as in one small machine.
"""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import psycopg

from connectors.postgres.connections import connect_as_owner
from connectors.postgres.migrations import migrate
from connectors.postgres.queries import parse_queries
from connectors.postgres.tenants import create_key, create_tenant
from deploy.bench.measured import BenchFailed, Role, cpu_seconds, until
from deploy.embedded import EmbeddedStack
from deploy.service import HOST, answers
from projections.catalog import READ_MODELS

PEPPER = "a pepper of the benchmark"
RECONCILIATION = "orders"
POOL = 8
LOAD_SECONDS_OVER = 60.0
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is asked for.

    Attributes:
        path: Of the API; `{cursor}` stands for a cursor, whose page is never kept.
        bare_path: Of the peer; None: it has no such thing.
        status: What the API answers.
        revalidates: The request names the ETag of the answer before.
    """

    name: str
    path: str
    bare_path: str | None
    status: int = 200
    revalidates: bool = False


CASES = (
    Case("summary", f"/api/v1/reconciliations/{RECONCILIATION}/summary", "/summary"),
    Case("exceptions", "/api/v1/exceptions", "/exceptions"),
    Case("exceptions_uncached", "/api/v1/exceptions?cursor={cursor}", "/exceptions"),
    Case("exceptions_unchanged", "/api/v1/exceptions", None, 304, revalidates=True),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    Args:
        clients: Connections that ask at the same time, each for the next as it has the last.
        seconds: Of each case, each server and each round, the first quarter uncounted.
        exceptions: Rows a tenant.
        tenants: How many have rows.
    """

    clients: int = 100
    seconds: float = 8.0
    exceptions: int = 2_000
    tenants: int = 10


@dataclass(slots=True)
class Round:
    """Figures of one round: of each case what the API and the peer made."""

    ours: dict[str, dict[str, float]] = field(default_factory=dict)
    bare: dict[str, dict[str, float]] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def add(self, process: str, seconds: float) -> None:
        """Count CPU that a process has used."""
        self.cpu_seconds[process] = self.cpu_seconds.get(process, 0.0) + seconds


def free_port() -> int:
    """Return a port that nothing listens on just now."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


class ApiBench:
    """Runs the rounds on one embedded stack."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stack = EmbeddedStack(broker=False, topic_prefix=None)
        self.keys: list[str] = []
        self.role: Role
        self.port = self._bare_port = self._bare_pid = 0
        self.rss_bytes_max = 0

    @property
    def database_url(self) -> str:
        """Of the benchmark's database, as its owner."""
        return self._stack.postgres.url()

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Start the stack, fill it, and start both servers."""
        with self._stack:
            with connect_as_owner(self._stack.postgres.url()) as connection:
                migrate(connection)
                self._fill(connection)
            self.port, self._bare_port = free_port(), free_port()
            with self._api() as self.role, self._bare():
                for _ in until(START_SECONDS, "the API and its peer to listen"):
                    self.role.look()
                    if answers(self.port) and answers(self._bare_port):
                        break
                yield

    def run(self) -> Round:
        """Run every case against both servers.

        Raises:
            BenchFailed: A server answered something else than was asked for.
        """
        done = Round()
        for case in CASES:
            before = self._cpu()
            ours = done.ours[case.name] = self._ask_api(case)
            between = self._cpu()
            done.add("api", between["api"] - before["api"])
            done.add("postgres_for_api", between["postgres"] - before["postgres"])
            done.add("load", ours["cpu_seconds"])
            if case.bare_path is None:
                continue
            request = f"GET {case.bare_path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
            bare = done.bare[case.name] = self._load(self._bare_port, request, 200)
            after = self._cpu()
            done.add("bare", after["bare"] - between["bare"])
            done.add("postgres_for_bare", after["postgres"] - between["postgres"])
            done.add("load", bare["cpu_seconds"])
        self.role.look()
        self.rss_bytes_max = self.role.rss_bytes_max
        return done

    def _ask_api(self, case: Case) -> dict[str, float]:
        head = [f"Host: {HOST}", f"Authorization: Bearer {self.keys[0]}"]
        path = case.path
        if "{cursor}" in path:
            page = self._get("/api/v1/exceptions?limit=1", head)[1]
            path = path.replace("{cursor}", json.loads(page)["next_cursor"])
        if case.revalidates:
            etag = self._get(path, head)[0]["etag"]
            head.append(f"If-None-Match: {etag}")
        request = "\r\n".join([f"GET {path} HTTP/1.1", *head, "", ""])
        return self._load(self.port, request, case.status)

    def _get(self, path: str, head: list[str]) -> tuple[dict[str, str], str]:
        fields = dict(line.split(": ", 1) for line in head)
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("GET", path, headers=fields)
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.status != 200:
                raise BenchFailed(f"GET {path} answered {answer.status}: {body[:500]}")
            return {name.lower(): value for name, value in answer.getheaders()}, body
        finally:
            connection.close()

    def _load(self, port: int, request: str, status: int) -> dict[str, float]:
        task = {
            "port": port,
            "request": request,
            "status": status,
            "clients": self._plan.clients,
            "seconds": self._plan.seconds,
        }
        done = subprocess.run(
            [sys.executable, "-m", "deploy.bench.http_load", json.dumps(task)],
            capture_output=True,
            text=True,
            timeout=self._plan.seconds + LOAD_SECONDS_OVER,
            check=False,
        )
        if done.returncode:
            raise BenchFailed(f"the load generator failed: {done.stderr[-2000:]}")
        figures: dict[str, float] = json.loads(done.stdout)
        return figures

    def _cpu(self) -> dict[str, float]:
        return {
            "api": self.role.cpu_seconds(),
            "bare": cpu_seconds(self._bare_pid),
            "postgres": cpu_seconds(self._stack.postgres.pid),
        }

    def _api(self) -> Role:
        environment = {
            "SETTLER_DATABASE_URL": self._stack.postgres.url(),
            "SETTLER_REDIS_URL": self._stack.valkey.url,
            "SETTLER_API_KEY_PEPPER": PEPPER,
            "SETTLER_API_PORT": str(self.port),
            "SETTLER_DATABASE_POOL_SIZE": str(POOL),
        }
        return Role("api", environment, self._stack.children, self._stack.data_dir)

    @contextmanager
    def _bare(self) -> Iterator[None]:
        task = {
            "port": self._bare_port,
            "database_url": self._stack.postgres.url(),
            "tenant_id": tenant_name(0),
            "reconciliation_id": RECONCILIATION,
            "pool": POOL,
        }
        with (self._stack.data_dir / "bare.log").open("wb") as output:
            process = self._stack.children.start(
                [sys.executable, "-m", "deploy.bench.bare_route", json.dumps(task)], output=output
            )
        self._bare_pid = process.pid
        try:
            yield
        finally:
            process.terminate()
            process.wait()
            self._stack.children.ended(process)

    def _fill(self, connection: "psycopg.Connection[Any]") -> None:
        text = resources.files("deploy.bench").joinpath("api_rows.sql").read_text(encoding="utf-8")
        queries = parse_queries(text)
        count = self._plan.exceptions
        for number in range(self._plan.tenants):
            create_tenant(connection, tenant_name(number), f"Tenant {number}")
            self.keys.append(create_key(connection, tenant_name(number), "load", [], PEPPER).key)
            row = {
                "tenant_id": tenant_name(number),
                "reconciliation_id": RECONCILIATION,
                "exceptions": count,
                "first_position": number * count,
            }
            for name in ("add_reconciliation", "add_totals", "add_exceptions"):
                connection.execute(queries[name], row)
        end = {"position": self._plan.tenants * count, "names": [m.name for m in READ_MODELS]}
        connection.execute(queries["set_checkpoints"], end)
        connection.execute(queries["set_log_head"], end)
        connection.execute("ANALYZE")


def tenant_name(number: int) -> str:
    """Return the id of a tenant of the benchmark."""
    return f"tenant-{number}"
