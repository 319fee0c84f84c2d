"""The driver over the real system: a seed holds, and a system without a guard is found out.

CHAOS_SEEDS=1-20 CHAOS_SECONDS=20 is the long form of the first test; `make chaos` keeps a record.
TEST_BROKER=apache has the first one run on a real Apache Kafka.
"""

import os
import sys

import pytest

from deploy.bench.chaos.plan import Injection
from deploy.bench.chaos.run import RunSettings, run_seed
from deploy.bench.chaos.series import parse_seeds
from deploy.bench.chaos.system import commands

SEEDS = parse_seeds(os.environ.get("CHAOS_SEEDS", "1"))
BROKER = os.environ.get("TEST_BROKER", "embedded")
SECONDS = float(os.environ.get("CHAOS_SECONDS", "10"))

pytestmark = pytest.mark.chaos


def changed(how):
    """The command of a flow changed as `guards` says."""
    return (sys.executable, "-m", "tests.chaos.mutant", how, "flow")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_ends_in_the_truth(seed, tmp_path):
    flow = changed("snapshots_all_the_time")
    result = run_seed(
        seed,
        RunSettings(SECONDS, 300, BROKER),
        print,
        commands=commands() | {"flow": flow},
        logs=tmp_path,
    )
    assert result.verdict.holds, result.verdict.words
    assert result.stopped_in_order, f"a role did not end in order; logs in {tmp_path}"
    assert sum(result.injections.values()) > 0
    assert result.landed >= result.records > 0


def test_a_system_without_its_offset_filter_is_found_out():
    result = run_seed(
        1,
        RunSettings(4.0, 200),
        print,
        plan=[Injection(2.0, "rewind", "flows", amount=0.2)],
        commands=commands() | {"flow": changed("no_offset_filter")},
        settle_seconds=10.0,
    )
    assert result.injections == {"rewind": 1}
    assert not result.verdict.holds, "records read again were counted again"
    assert any("redelivered" in words for words in result.verdict.words), result.verdict.words
