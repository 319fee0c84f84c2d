"""`settler bench match` gives every figure the contract names, with its peers or without them."""

import json
import subprocess
import sys

import pytest

from deploy.bench import match_peers
from deploy.bench.match import measure
from deploy.bench.match_records import CASES
from deploy.bench.match_report import lines, summarize
from deploy.bench.measured import BenchFailed


def test_every_figure_is_there():
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", "bench", "match", "--quick", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout)
    assert all(figures["rates"][case.name] > 0 for case in CASES)
    assert all(figures["cpu_seconds"][case.name] > 0 for case in CASES)
    assert figures["latency_ms"]["subset_2_to_8_p50"] > 0
    assert figures["memory_mib"]["peak"] > 0
    missing = match_peers.missing()
    assert figures["peers"]["measured"] == (not missing)
    assert all((f"pip install {' '.join(missing)}" in done.stderr) for _ in missing)
    wanted = {f"{case.name}_vs_{peer}" for case in CASES for peer in ("reconcile_py", "polars")}
    assert bool(missing) or wanted <= figures["ratios"].keys()


def test_without_peers_the_engine_is_measured_alone(monkeypatch):
    run = measure(500, 2, lambda _: None, with_peers=False)
    figures = summarize(500, [run], 1.0, 0.0)
    assert figures["ratios"] == {}
    assert any(line.startswith("fuzzy_residual") for line in lines(figures))


def test_an_engine_that_misses_a_match_has_no_rate(monkeypatch):
    one = CASES[0]
    off = one._replace(
        record=lambda side, number: one.record(side, number)._replace(amount_minor=100 + side)
    )
    monkeypatch.setattr("deploy.bench.match.CASES", (off,))
    with pytest.raises(BenchFailed, match="0 of 50 matches"):
        measure(50, 1, lambda _: None, with_peers=False)
