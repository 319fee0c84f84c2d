"""A cluster whose processes each have a supervisor of their own, as pods have."""

import os
import re
import signal
import time
from functools import partial

import pytest

from deploy.service import free_port
from tests.integration.flow.running import (
    Load,
    Role,
    define,
    eventually,
    gaps_of,
    holds,
    under_load,
    wait_until_defined,
)


def head(conn) -> int:
    return conn.execute("SELECT position FROM log_head").fetchone()[0]


def process_of(pod: Role) -> int:
    """The process id of the newest process that a pod's supervisor has started."""
    return int(re.findall(r"supervisor\.started.*pids=\[(\d+)\]", pod.log())[-1])


@pytest.fixture
def pods(environment, tmp_path):
    ports = [free_port(), free_port()]
    addresses = ";".join(f"localhost:{port}" for port in ports)
    environment |= {"SETTLER_LEASE_SECONDS": "2", "SETTLER_LEASE_HOLDER": "settler-flow"}
    made = [
        Role(environment, tmp_path / f"pod-{place}.log", "flow", "--addresses", addresses,
             "--index", str(place))
        for place in (0, 1)
    ]  # fmt: skip
    yield made
    for pod in made:
        if pod.process is not None and pod.process.poll() is None:
            pod.process.terminate()
    for pod in made:
        if pod.process is not None:
            pod.process.wait(40)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_is_joined_again_by_its_peers(
    victim, pods, database, environment, settings, tmp_path
):
    projections = Role(environment, tmp_path / "projections.log", "projections")
    load = Load(4_000, 51 + victim, settings.kafka_config(), settings.topic_prefix)
    with database.connect(autocommit=True) as conn, projections.running():
        for pod in pods:
            pod.start()
        for definition in load.workload.definitions(idle_seconds=6):
            define(conn, definition)
        wait_until_defined(conn)
        with under_load(load, 20):
            eventually(40, "commits", lambda: head(conn) > 100)
            before, formed = head(conn), [pod.log().count("cluster.formed") for pod in pods]
            began = time.monotonic()
            os.kill(process_of(pods[victim]), signal.SIGKILL)
            eventually(
                60,
                "the cluster forms again",
                lambda: all(
                    pod.log().count("cluster.formed") > old
                    for pod, old in zip(pods, formed, strict=True)
                ),
            )
            eventually(40, "it commits again", lambda: head(conn) > before + 100)
            print(f"process {victim} killed: commits after {time.monotonic() - began:.1f} s")
        # How long the load was away, and so what counted as silence, depends on the machine; that
        # every message was taken in once does not.
        read_to = "SELECT coalesce(sum(next_offset), 0) FROM source_checkpoints"
        eventually(
            90, "all taken in", lambda: conn.execute(read_to).fetchone()[0] >= load._producer.sent
        )
        assert gaps_of(conn) == []
        # One is told to stop, and the dataflow of both drains; the other waits for it to return.
        assert pods[1 - victim].stop() == 0, pods[1 - victim].log()[-2000:]
        eventually(
            30, "the other is ready to join", partial(pods[victim].log().count, "cluster.formed")
        )
        assert pods[victim].stop() == 0, pods[victim].log()[-2000:]
        assert not any("supervisor.killed" in pod.log() for pod in pods)
    holds(environment)


def test_addresses_that_cannot_be_are_refused(environment, tmp_path):
    wrong = [
        ("--index", "0"),
        ("--addresses", "a:1;b"),
        ("--addresses", "a:1;b:2"),
        ("--addresses", "a:1;b:2", "--index", "2"),
        ("--addresses", "a:1;b:2", "--index", "0", "--processes", "2"),
    ]
    pods = [
        Role(environment, tmp_path / f"{number}.log", "flow", *arguments)
        for number, arguments in enumerate(wrong)
    ]
    for pod in pods:
        pod.start()
    for pod, arguments in zip(pods, wrong, strict=True):
        assert pod.process.wait(60) == 2, arguments
        assert "--" in pod.log()
