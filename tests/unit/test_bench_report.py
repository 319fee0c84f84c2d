"""What `settler bench pipeline` prints of several runs."""

import pytest

from deploy.bench.latency import Latency
from deploy.bench.pipeline import MIB, Plan, Run
from deploy.bench.report import lines, summarize

CPU = {"flow": 1.0, "projections": 1.0, "plain_flow": 1.0, "loop": 1.0}


def run(committed: float, p99_ms: float) -> Run:
    latency = Latency(10.0, p99_ms, 2 * p99_ms, 100, committed / 2)
    return Run(committed, 90.0, 20.0, 100.0, CPU, 5 * MIB, latency)


@pytest.mark.parametrize(
    ("committed", "shown"),
    [((150.0,), "1.50"), ((150.0, 110.0, 190.0), "1.50  (1.10 to 1.90)")],
)
def test_ratios_are_medians_beside_the_lowest_and_the_highest(committed, shown):
    runs = [run(one, 10 * one) for one in committed]
    told = summarize(Plan(), runs, {}, 0.0)
    assert told["ratios"]["committed_vs_loop"] == 1.5
    assert told["latency_ms"]["p99"] == 1500.0
    (line,) = (one for one in lines(told) if one.startswith("committed_vs_loop"))
    assert line.split(maxsplit=1)[1] == shown
