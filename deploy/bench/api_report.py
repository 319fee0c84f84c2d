"""What the benchmark of the API prints: medians over its rounds, as one object or as lines."""

import os
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from deploy.bench.api import CASES, Plan, Round
from deploy.bench.pipeline import MIB

_LATENCIES = ("p50", "p95", "p99")


def _medians(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in figures) for name in figures[0]}


def summarize(
    plan: Plan,
    rounds: Sequence[Round],
    rss_bytes_max: int,
    listeners: Mapping[str, float],
    load_average: float,
) -> dict[str, Any]:
    """Return the medians of the rounds; rates are answers a second, ratios ours ÷ the bare route's.

    Args:
        rss_bytes_max: Of the API's process under load.
        listeners: What `measure_listeners` returned; empty: not measured.
        load_average: What the machine was busy with before; above a few tenths, distrust the rest.
    """
    rates: dict[str, float] = {}
    ratios: dict[str, float] = {}
    latency: dict[str, float] = {}
    for case in CASES:
        servers = {case.name: [one.ours[case.name] for one in rounds]}
        if case.bare_path is not None:
            servers[f"{case.name}_bare"] = bare = [one.bare[case.name] for one in rounds]
            pairs = zip(servers[case.name], bare, strict=True)
            ratio = median(ours["per_second"] / its["per_second"] for ours, its in pairs)
            ratios[f"{case.name}_vs_bare"] = round(ratio, 3)
        for name, figures in servers.items():
            middle = _medians(figures)
            rates[name] = round(middle["per_second"])
            latency |= {f"{name}_{part}": round(middle[part], 1) for part in _LATENCIES}
    return {
        "benchmark": "api",
        "clients": plan.clients,
        "runs": len(rounds),
        "machine": {"cpus": os.cpu_count(), "load_average": round(load_average, 2)},
        "rates": rates,
        "ratios": ratios,
        "latency_ms": latency,
        "memory_mib": {"api_peak": round(rss_bytes_max / MIB, 1)},
        "cpu_seconds": {
            name: round(value, 2)
            for name, value in _medians([one.cpu_seconds for one in rounds]).items()
        },
        "listeners": {name: round(value, 3) for name, value in listeners.items()},
    }


def lines(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines for a person."""
    rates, latency = figures["rates"], figures["latency_ms"]
    shown = [
        f"{figures['clients']} clients at a time, median of {figures['runs']} run(s)",
        "",
        f"{'':<28}{'answers/s':>10}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}",
    ]
    for name, rate in rates.items():
        of_name = "".join(f"{latency[f'{name}_{part}']:>9.1f}" for part in _LATENCIES)
        label = name.removesuffix("_bare") + ", bare route" if name.endswith("_bare") else name
        shown.append(f"{label.replace('_', ' '):<28}{rate:>10,}{of_name}")
    shown += ["", *(f"{name:<28}{value:>10.2f}" for name, value in figures["ratios"].items()), ""]
    cpu = ", ".join(f"{name} {value:.1f}" for name, value in figures["cpu_seconds"].items())
    shown.append(f"CPU seconds: {cpu.replace('_', ' ')}")
    shown.append(f"memory of the API at its peak: {figures['memory_mib']['api_peak']:.0f} MiB")
    if held := figures["listeners"]:
        shown.append(
            f"{held['open']:,.0f} live streams: {held['kib_each']:.0f} KiB each, "
            f"{held['mib']:.0f} MiB in all, {held['cpu_share']:.1%} of a core while idle; "
            f"{held['told']:,.0f} of them told of a movement in p50 {held['told_p50_ms']:.0f} ms, "
            f"p99 {held['told_p99_ms']:.0f} ms"
        )
    return shown
