"""What a benchmark prints: medians over its runs, as one object or as lines for people."""

import os
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from deploy.bench.pipeline import MIB, Plan, Run

RATIOS: dict[str, Callable[[Run], float]] = {
    "committed_vs_plain_flow": lambda run: run.committed / run.plain_flow,
    "committed_vs_loop": lambda run: run.committed / run.loop,
    "readable_vs_loop": lambda run: run.readable / run.loop,
}
RATES: dict[str, Callable[[Run], float]] = {
    "committed": lambda run: run.committed,
    "readable": lambda run: run.readable,
    "plain_flow": lambda run: run.plain_flow,
    "loop": lambda run: run.loop,
}


def summarize(
    plan: Plan, runs: Sequence[Run], memory: dict[str, float], load_average: float
) -> dict[str, Any]:
    """Return the medians of the runs; rates are transactions a second, of both sides together.

    Args:
        load_average: What the machine was busy with before; above a few tenths, distrust the rest.
    """
    return {
        "benchmark": "pipeline",
        "transactions": plan.transactions,
        "runs": len(runs),
        "machine": {"cpus": os.cpu_count(), "load_average": round(load_average, 2)},
        "rates": {name: round(median(map(of, runs))) for name, of in RATES.items()},
        "ratios": {name: round(median(map(of, runs)), 3) for name, of in RATIOS.items()},
        "latency_ms": _latency(runs),
        "memory_mib": {
            "flow_peak": round(max(run.flow_rss_bytes_max for run in runs) / MIB, 1),
            **{name: round(value, 1) for name, value in memory.items()},
        },
        "cpu_seconds": {
            name: round(median(run.cpu_seconds[name] for run in runs), 2)
            for name in runs[0].cpu_seconds
        },
        "each_run": [
            {name: round(of(run), 3) for name, of in (RATES | RATIOS).items()} for run in runs
        ],
    }


def _latency(runs: Sequence[Run]) -> dict[str, float]:
    measured = [run.latency for run in runs if run.latency is not None]
    if not measured:
        return {}
    return {
        "p50": round(median(one.p50_ms for one in measured), 1),
        "p99": round(median(one.p99_ms for one in measured), 1),
        "max": round(max(one.max_ms for one in measured), 1),
        "samples": sum(one.samples for one in measured),
        "transactions_per_second": round(median(one.transactions_per_second for one in measured)),
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as lines for a person."""
    rates, ratios, cpu = figures["rates"], figures["ratios"], figures["cpu_seconds"]
    shown = [
        f"{figures['transactions']:,} transactions, median of {figures['runs']} run(s)",
        "",
        f"{'':<22}{'transactions/s':>15}{'CPU seconds':>13}",
        f"{'settler, committed':<22}{rates['committed']:>15,}{cpu['flow']:>13.1f}",
        f"{'settler, readable':<22}{rates['readable']:>15,}{cpu['projections']:>13.1f}",
        f"{'plain Bytewax flow':<22}{rates['plain_flow']:>15,}{cpu['plain_flow']:>13.1f}",
        f"{'loop without state':<22}{rates['loop']:>15,}{cpu['loop']:>13.1f}",
        "",
        *(f"{name:<26}{value:>8.2f}{_spread(figures, name)}" for name, value in ratios.items()),
        "",
    ]
    if latency := figures["latency_ms"]:
        shown.append(
            f"second leg to readable match at {latency['transactions_per_second']:,} "
            f"transactions/s: p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms"
        )
    memory = figures["memory_mib"]
    shown.append(f"flow memory at its peak: {memory['flow_peak']:.0f} MiB")
    if "open_transactions" in memory:
        shown.append(
            f"flow memory with {memory['open_transactions']:,.0f} open transactions: "
            f"{memory['flow_with_open']:.0f} MiB, peak {memory['flow_with_open_peak']:.0f} MiB"
        )
    return shown


def _spread(figures: dict[str, Any], name: str) -> str:
    """The lowest and highest of several runs: a median does not say how calm the host was."""
    each = [run[name] for run in figures["each_run"]]
    return f"  ({min(each):.2f} to {max(each):.2f})" if len(each) > 1 else ""
