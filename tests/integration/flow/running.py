"""Running the parts as an operator would, as processes that can be killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from connectors.synthetic import broken
from connectors.synthetic.facts import Facts
from connectors.synthetic.topics import LoadProducer
from connectors.synthetic.workload import Rates, Workload, ending_before
from tests.measuring import PATIENCE, measuring

_PAUSE = threading.Event()


def eventually(
    seconds: float, what: str, holds: Callable[[], object], *, resting: bool = True
) -> None:
    """Ask again and again until it holds; fail with `what` when it does not in time.

    Args:
        resting: Ask for a fifth of the time at most, up to half a second apart: what is waited for
            needs the same processors. Not where each answer on the way is part of the test.
    """
    seconds *= PATIENCE
    asked_at = time.monotonic()
    deadline = asked_at + seconds
    while not holds():
        answered_at = time.monotonic()
        assert answered_at < deadline, f"not within {seconds} s: {what}"
        took = answered_at - asked_at
        _PAUSE.wait(min(max(0.02, 4 * took), 0.5) if resting else 0.02)
        asked_at = time.monotonic()


def surroundings() -> dict[str, str]:
    """What a process needs besides its settings; under `make coverage` it is measured, too."""
    return {"PATH": os.environ["PATH"], **measuring()}


class Role:
    """One `settler run …`, in a process group of its own."""

    def __init__(self, environment: dict[str, str], log: Path, *arguments: str) -> None:
        self._environment = {**environment, **surroundings()}
        self._log = log
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli.main", "run", *self._arguments],
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to the process and all it started."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30 * PATIENCE)

    def freeze(self) -> None:
        """SIGSTOP, to it and all it started."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT, to it and all it started."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @contextmanager
    def running(self) -> Iterator["Role"]:
        self.start()
        try:
            yield self
        finally:
            if self.process is not None and self.process.poll() is None:
                self.kill()


def verify(environment: dict[str, str], *options: str) -> dict[str, object]:
    """Run `settler verify` as an operator would; its report, with the exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", "verify", "--json", *options],
        env={**environment, **surroundings()},
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout) | {"exit_code": done.returncode}


def holds(environment: dict[str, str]) -> None:
    """Fail unless `settler verify` finds log, read models and Kafka in agreement.

    Read models may be behind by what the flow wrote last, and are compared as of where they stand.
    """
    report = verify(environment)
    assert report["exit_code"] == 0, report["differences"]
    assert report["kafka"]["state"] == "agrees", report["kafka"]


def define(conn: psycopg.Connection, definition: dict[str, object]) -> str:
    """Submit a definition to the inbox, as the API does."""
    command_id = str(uuid.uuid4())
    conn.execute(
        "INSERT INTO inbox (command_id, tenant_id, reconciliation_id, command_type, payload, "
        "correlation_id) VALUES (%s, %s, %s, 'define', %s, %s)",
        (
            command_id,
            definition["tenant_id"],
            definition["reconciliation_id"],
            Jsonb({"definition": definition}),
            command_id,
        ),
    )
    return command_id


def wait_until_defined(conn: psycopg.Connection) -> None:
    eventually(
        20,
        "every command decided",
        lambda: (
            conn.execute("SELECT count(*) FROM inbox WHERE status = 'pending'").fetchone()[0] == 0
        ),
    )


class Load:
    """A generated workload, sent piece by piece, and its truth."""

    def __init__(
        self,
        transactions: int,
        seed: int,
        config: dict[str, str],
        prefix: str,
        rates: Rates | None = None,
        period_days: int = 30,
    ) -> None:
        self.facts = Facts()
        self.workload = Workload(
            seed=seed,
            transactions=transactions,
            ending_at_us=ending_before(time.time_ns() // 1000),
            invalid_kinds=tuple(broken.KINDS),
            rates=rates or Rates(),
            period_days=period_days,
        )
        self._blocks = self.workload.blocks(self.facts)
        self._producer = LoadProducer(config, prefix)

    def patient_definitions(self, idle_seconds: int) -> list[dict[str, object]]:
        """Definitions under which all there is may come late.

        What waits for a broker that is away, or for one while another takes records, does: a second
        of a load is hours of event time.
        """
        documents = self.workload.definitions(idle_seconds=idle_seconds)
        for document in documents:
            document["window"]["lateness"] = f"P{self.workload.period_days + 1}D"
        return documents

    def send(self, messages: int | None = None) -> int:
        """Send about that many more messages, or all the rest; returns how many."""
        sent = 0
        for block in self._blocks:
            for side, key, value in block:
                self._producer.send(side, key, value)
            sent += len(block)
            if messages is not None and sent >= messages:
                break
        return sent

    def arrive(self) -> None:
        """Wait until the broker has taken everything that was sent."""
        self._producer.finish()

    def finish(self) -> None:
        self.send()
        self.arrive()


@contextmanager
def under_load(load: Load, messages: int = 50) -> Iterator[None]:
    """About so many records arrive every tenth of a second, and the rest at the end."""
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.1) and load.send(messages):
            pass

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()
    load.finish()


def gaps_of(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    """Rows of the log that do not follow on: in position over the log, in version per stream."""
    return conn.execute(
        """
        SELECT stream_id, base_version, first_position FROM (
            SELECT stream_id, base_version, first_position,
                   lag(last_position, 1, 0::bigint) OVER (ORDER BY last_position) AS before,
                   lag(base_version + event_count, 1, 0::bigint)
                       OVER (PARTITION BY stream_id ORDER BY base_version) AS version_before
            FROM event_store) AS batches
        WHERE first_position <> before + 1 OR base_version <> version_before
        """
    ).fetchall()
