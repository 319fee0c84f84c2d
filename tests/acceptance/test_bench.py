"""`settler bench pipeline` shows its figures; how large they are depends on the machine."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from deploy.bench.soak import Plan, Sample, Soak
from deploy.bench.soak_report import summarize


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


def test_a_quick_run_of_the_api_gives_every_figure():
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", "bench", "api", "--quick", "--json",
         "--listeners", "300"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    cases = {"summary", "exceptions", "exceptions_uncached"}
    rates, ratios, latency = told["rates"], told["ratios"], told["latency_ms"]
    assert set(rates) == cases | {f"{case}_bare" for case in cases} | {"exceptions_unchanged"}
    assert set(ratios) == {f"{case}_vs_bare" for case in cases}
    for case in cases:
        ours, bare = rates[case], rates[f"{case}_bare"]
        shown = ratios[f"{case}_vs_bare"]  # of rates before they were rounded, in the one round
        assert (ours - 0.5) / (bare + 0.5) - 0.001 <= shown <= (ours + 0.5) / (bare - 0.5) + 0.001
    for name in rates:
        assert 0 < latency[f"{name}_p50"] <= latency[f"{name}_p95"] <= latency[f"{name}_p99"]
    held = told["listeners"]
    assert (held["open"], held["told"]) == (300, 30)
    assert 0 < held["told_p50_ms"] <= held["told_p99_ms"]
    assert held["kib_each"] > 0
    assert {"api", "load", "bare"} <= set(told["cpu_seconds"])
    assert told["clients"] == 20


def test_a_quick_run_of_scaling_gives_every_figure_and_writes_its_page(tmp_path):
    page = tmp_path / "scaling.md"
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", "bench", "scaling", "--quick", "--json",
         "--document", str(page)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["rates"]) == set(told["cpu_seconds"]) == {"processes_1", "processes_2"}
    assert all(rate > 0 for rate in told["rates"].values())
    assert told["ratios"]["processes_2_vs_1"] == pytest.approx(
        told["rates"]["processes_2"] / told["rates"]["processes_1"], abs=0.01
    )
    (row,) = told["restarts"]
    assert row["open_transactions"] == row["folded"] == 10_000
    assert 0 < row["running_seconds"] < row["opened_seconds"] < row["committed_seconds"]
    assert told["latency_ms"]["restart_10000"] == pytest.approx(
        row["committed_seconds"] * 1000, abs=10
    )
    written = page.read_text()
    assert f"| 2 | {told['rates']['processes_2']:,} |" in written
    assert f"| 10,000 | {row['snapshot_mib']:,} | 10,000 |" in written


def test_a_short_soak_records_memory_and_writes_page_and_plot(tmp_path):
    page = tmp_path / "soak.md"
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", "bench", "soak", "--minutes", "0.1", "--rate",
         "1000", "--turnover-seconds", "2", "--json", "--document", str(page)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    told = json.loads(done.stdout)
    # So short a time says nothing about growth; the exit code says what the figure does.
    assert done.returncode == (0 if told["flat"] else 1), done.stderr
    assert told["transactions"] == 6_000
    memory = told["memory_mib"]
    assert 0 < memory["flow_first_quarter"] <= memory["flow_peak"]
    assert len(told["samples"]) >= 10
    assert "(soak.svg)" in page.read_text()
    assert f"{memory['flow_peak']:,} MiB" in page.read_text()
    plot = ET.parse(tmp_path / "soak.svg").getroot()
    curves = plot.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(one.get("points").split()) for one in curves] == [len(told["samples"])] * 2


def test_memory_that_grows_is_said_to_grow():
    plan = Plan(minutes=1, turnover_seconds=1)

    def grown(share: float):
        samples = [Sample(float(at), int(1e9 * (1 + share * at / 60)), 10**8) for at in range(61)]
        return summarize(plan, Soak(1, samples, 0.1, {"flow": 1.0}), 0.0)["flat"]

    assert grown(0.0)
    assert grown(0.04)
    assert not grown(0.1)
