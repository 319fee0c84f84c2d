"""`settler bench pipeline` shows its figures; how large they are depends on the machine."""

import json
import subprocess
import sys

import pytest


def test_a_quick_run_gives_every_figure():
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", "bench", "pipeline", "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rates, ratios = told["rates"], told["ratios"]
    assert set(rates) == {"committed", "readable", "plain_flow", "loop"}
    assert set(ratios) == {"committed_vs_plain_flow", "committed_vs_loop", "readable_vs_loop"}
    assert ratios["committed_vs_loop"] == pytest.approx(
        rates["committed"] / rates["loop"], abs=0.01
    )
    assert rates["readable"] <= rates["committed"]
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["p99"] <= told["latency_ms"]["max"]
    assert told["latency_ms"]["samples"] > 10
    assert {"flow_peak", "flow_with_open", "open_transactions"} <= set(told["memory_mib"])
    assert {"flow", "projections", "plain_flow", "loop"} <= set(told["cpu_seconds"])
    for group in (rates, ratios, told["latency_ms"], told["memory_mib"], told["cpu_seconds"]):
        assert all(value > 0 for value in group.values()), group
    assert told["transactions"] == 20_000
    assert len(told["each_run"]) == told["runs"] == 1
