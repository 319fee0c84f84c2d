"""Live streams that nothing happens on: what they cost one process of the API."""

import json
import subprocess
import sys
import time
from typing import Any

import psycopg

from deploy.bench.api import ApiBench, tenant_name
from deploy.bench.measured import BenchFailed

#: As a projection does when it has committed a batch of the first tenant.
_MOVE = """
WITH moved AS (
    UPDATE reconciliation_summary SET position = position + 1, last_event_at = clock_timestamp()
    WHERE tenant_id = %(tenant_id)s
    RETURNING tenant_id, reconciliation_id, position
)
SELECT pg_notify('settler_read_models', to_jsonb(moved)::text) FROM moved
"""
SETTLE_SECONDS = 3.0
END_SECONDS = 30.0


def measure_listeners(bench: ApiBench, listeners: int, idle_seconds: float) -> dict[str, float]:
    """Hold streams open, spread over all tenants; watch them idle, then move one tenant.

    Returns:
        `open`, `open_seconds`, `mib_each` and `mib` of the process with all of them, `cpu_share`
        of one core while nothing happens, and `told`, `told_p50_ms`, `told_p99_ms`: how soon the
        streams of the tenant that moved had the news.

    Raises:
        BenchFailed: A stream was refused, ended, or was not told.
    """
    time.sleep(SETTLE_SECONDS)
    rss_before = bench.role.rss_bytes()
    task = {"port": bench.port, "keys": bench.keys, "listeners": listeners}
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.bench.listeners", json.dumps(task)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        opened = _told(process)
        time.sleep(SETTLE_SECONDS)
        cpu, rss = bench.role.cpu_seconds(), bench.role.rss_bytes()
        _say(process, f"idle {idle_seconds}")
        _told(process)
        cpu = bench.role.cpu_seconds() - cpu
        _say(process, "moved")
        _told(process)
        with psycopg.connect(bench.database_url, autocommit=True) as connection:
            connection.execute(_MOVE, {"tenant_id": tenant_name(0)})
        told = _told(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(END_SECONDS)
    return {
        "open": listeners,
        "open_seconds": opened["open_seconds"],
        "mib": rss / 2**20,
        "kib_each": (rss - rss_before) / listeners / 2**10,
        "cpu_share": cpu / idle_seconds,
        "told": told["told"],
        "told_p50_ms": told["p50"],
        "told_p99_ms": told["p99"],
    }


def _say(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _told(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchFailed("the listeners ended; what they said stands above")
    told: dict[str, Any] = json.loads(line)
    return told
