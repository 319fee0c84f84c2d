"""SIGKILL at random moments: the end is the truth, record for record."""

import os
import random
from functools import partial

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

# CRASH_TRANSACTIONS=200000 CRASH_KILLS=10 is the long form of the same test.
TRANSACTIONS = int(os.environ.get("CRASH_TRANSACTIONS", "12000"))
KILLS = int(os.environ.get("CRASH_KILLS", "4"))
SECONDS = 90 + TRANSACTIONS / 1000


def committed(conn) -> int:
    return conn.execute("SELECT position FROM log_head").fetchone()[0]


def committed_to(conn, position: int) -> bool:
    return committed(conn) >= position


@pytest.mark.parametrize("processes", [1, 2])
def test_a_flow_killed_again_and_again_ends_in_the_truth(
    processes, database, environment, settings, tmp_path
):
    rng = random.Random(TRANSACTIONS + processes)
    environment |= {"SETTLER_LEASE_SECONDS": "1", "SETTLER_HOLD_SECONDS": "5"}
    flow = Role(environment, tmp_path / "flow.log", "flow", "--processes", str(processes))
    projections = Role(environment, tmp_path / "projections.log", "projections")
    load = Load(TRANSACTIONS, 7, settings.kafka_config(), settings.topic_prefix)
    with database.connect(autocommit=True) as conn, flow.running(), projections.running():
        for definition in load.workload.definitions(idle_seconds=2):
            define(conn, definition)
        wait_until_defined(conn)
        for kill in range(KILLS):
            enough = committed(conn) + rng.randint(1, TRANSACTIONS // KILLS // 4)
            load.send(TRANSACTIONS // KILLS)
            eventually(40, f"commits after kill {kill}", partial(committed_to, conn, enough))
            (projections if kill % 4 == 3 else flow).kill()
            (projections if kill % 4 == 3 else flow).start()
        load.finish()
        eventually(
            SECONDS,
            "the truth; first differences: "
            + "; ".join(str(one) for one in differences(conn, load.facts)[:3]),
            lambda: not differences(conn, load.facts),
        )
        assert gaps_of(conn) == []
        assert flow.stop() == 0, flow.log()[-2000:]
        assert projections.stop() == 0, projections.log()[-2000:]
    holds(environment)


def test_a_second_flow_stands_by_and_takes_over(database, environment, settings, tmp_path):
    environment |= {"SETTLER_LEASE_SECONDS": "1"}
    first = Role(environment, tmp_path / "first.log", "flow")
    second = Role(environment, tmp_path / "second.log", "flow")
    projections = Role(environment, tmp_path / "projections.log", "projections")
    load = Load(2_000, 11, settings.kafka_config(), settings.topic_prefix)
    with database.connect(autocommit=True) as conn, first.running(), projections.running():
        for definition in load.workload.definitions(idle_seconds=2):
            define(conn, definition)
        wait_until_defined(conn)
        with second.running():
            eventually(20, "the second stands by", lambda: "lease.standby" in second.log())
            load.send(1_000)
            first.kill()
            load.finish()
            eventually(20, "the second takes over", lambda: "lease.acquired" in second.log())
            eventually(60, "the truth", lambda: not differences(conn, load.facts))
            assert gaps_of(conn) == []
    holds(environment)


@pytest.mark.parametrize("processes", [1, 2])
def test_told_to_stop_while_it_stands_by_a_flow_ends_in_order(
    processes, database, environment, tmp_path
):
    with database.connect(autocommit=True) as conn:
        conn.execute(
            "INSERT INTO leases (name, holder, acquired_at, expires_at) "
            "VALUES ('flow', 'another', now(), now() + interval '1 hour')"
        )
    standby = Role(environment, tmp_path / "standby.log", "flow", "--processes", str(processes))
    with standby.running():
        eventually(40, "it stands by", lambda: standby.log().count("lease.standby") == processes)
        assert standby.stop() == 0, standby.log()[-2000:]
        assert "supervisor.killed" not in standby.log()
