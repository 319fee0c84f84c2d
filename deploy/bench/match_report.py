"""What the matching benchmark prints: medians over its runs, as one object or as lines."""

import os
from collections.abc import Sequence
from statistics import median
from typing import Any

from deploy.bench.match import PEER_PAIRS, MatchRun
from deploy.bench.match_records import CASES

PEERS = ("reconcile_py", "polars")


def summarize(
    pairs: int, runs: Sequence[MatchRun], peak_mib: float, load_average: float
) -> dict[str, Any]:
    """Return the medians of the runs; rates are transactions a CPU second, of both sides together.

    Args:
        load_average: What the machine was busy with before; above a few tenths, distrust the rest.
    """
    rates = {case.name: round(median(run.rates[case.name] for run in runs)) for case in CASES}
    ratios = {}
    for place in runs[0].peer_rates:
        name, peer = place
        rates[f"{name}_{peer}"] = round(median(run.peer_rates[place] for run in runs))
        ratios[f"{name}_vs_{peer}"] = round(
            median(run.rates[name] / run.peer_rates[place] for run in runs), 3
        )
    latency = {}
    for kind in runs[0].searches:
        times = sorted(one for run in runs for one in run.searches[kind].ours_ms)
        latency[f"{kind}_p50"] = round(median(times), 2)
        latency[f"{kind}_p95"] = round(times[len(times) * 95 // 100], 2)
        latency[f"{kind}_max"] = round(times[-1], 2)
        theirs = [one for run in runs for one in run.searches[kind].theirs_ms]
        if theirs:
            latency[f"{kind}_reconcile_py_p50"] = round(median(theirs), 2)
            ratios[f"{kind}_vs_reconcile_py"] = round(median(theirs) / median(times), 3)
    return {
        "benchmark": "match",
        "transactions": 2 * pairs,
        "runs": len(runs),
        "machine": {"cpus": os.cpu_count(), "load_average": round(load_average, 2)},
        "peers": {
            "reconcile_py_transactions": 2 * min(pairs, PEER_PAIRS),
            "polars_threads": 1,
            "measured": bool(runs[0].peer_rates),
        },
        "rates": rates,
        "ratios": ratios,
        "latency_ms": latency,
        "memory_mib": {"peak": round(peak_mib, 1)},
        "cpu_seconds": {
            case.name: round(median(run.cpu_seconds[case.name] for run in runs), 3)
            for case in CASES
        },
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as lines for a person."""
    rates, ratios, latency = figures["rates"], figures["ratios"], figures["latency_ms"]
    peers = figures["peers"]["measured"]
    shown = [
        f"{figures['transactions']:,} transactions a case, median of {figures['runs']} run(s)",
        "",
        f"{'transactions a CPU second':<27}{'settler':>10}"
        + (f"{'reconcile-py':>14}{'ratio':>9}{'Polars join':>13}{'ratio':>7}" if peers else ""),
    ]
    for case in CASES:
        line = f"{case.name:<27}{rates[case.name]:>10,}"
        if peers:
            tried, joined = (rates[f"{case.name}_{peer}"] for peer in PEERS)
            line += f"{tried:>14,}{ratios[f'{case.name}_vs_reconcile_py']:>9,.0f}"
            line += f"{joined:>13,}{ratios[f'{case.name}_vs_polars']:>7.3f}"
        shown.append(line)
    shown += ["", f"{'subset search of 40, ms':<27}{'p50':>10}{'p95':>10}{'max':>10}"]
    for kind in dict.fromkeys(name.rsplit("_", 1)[0] for name in latency if name.endswith("_max")):
        line = f"{kind:<27}" + "".join(
            f"{latency[f'{kind}_{of}']:>10.2f}" for of in ("p50", "p95", "max")
        )
        if f"{kind}_vs_reconcile_py" in ratios:
            line += f"   reconcile-py {latency[f'{kind}_reconcile_py_p50']:,.0f} ms, "
            line += f"{ratios[f'{kind}_vs_reconcile_py']:,.0f} times as long"
        shown.append(line)
    shown += ["", f"memory at its peak: {figures['memory_mib']['peak']:.0f} MiB, peers included"]
    if peers:
        shown.append(
            "reconcile-py tries every pair, so it had "
            f"{figures['peers']['reconcile_py_transactions']:,} transactions; "
            "Polars only joins, on one thread"
        )
    return shown
