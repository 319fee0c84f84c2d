"""More processes, fewer processes: nothing is lost, and reconciliations move."""

import re
import time

import pytest

from deploy.verdict import differences
from tests.integration.flow.running import (
    Load,
    Role,
    define,
    eventually,
    gaps_of,
    holds,
    wait_until_defined,
)

TRANSACTIONS = 6_000
SIZES = (1, 2, 3, 1)


def head(conn) -> int:
    return conn.execute("SELECT position FROM log_head").fetchone()[0]


def owners(log: str) -> dict[str, str]:
    """Reconciliation → what opened it, by the fences in a flow's log."""
    opened = re.findall(r"window\.opened.*?fence=(\d+).*?stream_id=(\S+)", log)
    return {stream: fence for fence, stream in opened}


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_from_one_process_to_two_to_three_to_one(
    killed, database, environment, settings, tmp_path, record_property
):
    environment |= {"SETTLER_LEASE_SECONDS": "1", "SETTLER_HOLD_SECONDS": "5"}
    projections = Role(environment, tmp_path / "projections.log", "projections")
    load = Load(TRANSACTIONS, 23, settings.kafka_config(), settings.topic_prefix)
    fences: dict[str, str] = {}
    with database.connect(autocommit=True) as conn, projections.running():
        for place, processes in enumerate(SIZES):
            log = tmp_path / f"flow-{place}.log"
            flow = Role(environment, log, "flow", "--processes", str(processes))
            before, began = head(conn), time.monotonic()
            with flow.running():
                if place == 0:
                    for definition in load.workload.definitions(idle_seconds=6):
                        define(conn, definition)
                    wait_until_defined(conn)
                load.send(TRANSACTIONS // len(SIZES))
                eventually(60, f"{processes} commit", lambda old=before: head(conn) > old)
                recovered = time.monotonic() - began
                if not killed:  # else what was killed may have committed once more on its way down
                    print(f"{processes} process(es): first commit after {recovered:.1f} s")
                    record_property(f"recovery_seconds_{place}", round(recovered, 1))
                if place == len(SIZES) - 1:
                    load.finish()
                    eventually(90, "the truth", lambda: not differences(conn, load.facts))
                if killed and place < len(SIZES) - 1:
                    flow.kill()
                else:
                    assert flow.stop() == 0, flow.log()[-2000:]
            moved = owners(flow.log())
            # Each start takes its reconciliations over from the one before.
            assert all(int(fence) > int(fences.get(one, 0)) for one, fence in moved.items())
            fences |= moved
        assert len(fences) > 1
        assert gaps_of(conn) == []
        assert projections.stop() == 0, projections.log()[-2000:]
    holds(environment)
