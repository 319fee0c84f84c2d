"""What the scaling benchmark prints: as one object, as lines for people, as a document."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from statistics import median
from typing import Any

from deploy.bench.pipeline import MIB
from deploy.bench.scaling import Plan, Restart, Throughput

#: With more than this load before, the figures are not the product's alone.
BUSY = 0.5


def summarize(
    plan: Plan, throughputs: Sequence[Throughput], restarts: Sequence[Restart], load_average: float
) -> dict[str, Any]:
    """Return the figures; rates are transactions a second, restarts medians of seconds.

    Args:
        load_average: What the machine was busy with before; above a few tenths, distrust the rest.
    """
    rates = {f"processes_{one.processes}": round(one.per_second) for one in throughputs}
    first = throughputs[0].per_second if throughputs else 0.0
    rows = [
        _restart_row(count, list(group))
        for count, group in groupby(restarts, key=lambda one: one.open_transactions)
    ]
    return {
        "benchmark": "scaling",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "transactions": plan.transactions,
        "runs": plan.restarts,
        "machine": {"cpus": os.cpu_count(), "load_average": round(load_average, 2)},
        "rates": rates,
        "ratios": {
            f"processes_{one.processes}_vs_{throughputs[0].processes}": round(
                one.per_second / first, 2
            )
            for one in throughputs[1:]
        },
        "latency_ms": {
            f"restart_{row['open_transactions']}": round(row["committed_seconds"] * 1000)
            for row in rows
        },
        "memory_mib": {f"open_{row['open_transactions']}": row["memory_mib"] for row in rows},
        "cpu_seconds": {
            f"processes_{one.processes}": round(one.cpu_seconds, 1) for one in throughputs
        },
        "restarts": rows,
    }


def _restart_row(count: int, runs: Sequence[Restart]) -> dict[str, Any]:
    return {
        "open_transactions": count,
        "snapshot_mib": round(runs[0].snapshot_bytes / MIB, 1),
        "folded": round(median(one.folded for one in runs)),
        "running_seconds": round(median(one.running for one in runs), 2),
        "opened_seconds": round(median(one.opened for one in runs), 2),
        "committed_seconds": round(median(one.committed for one in runs), 2),
        "committed_seconds_max": round(max(one.committed for one in runs), 2),
        "cpu_seconds": round(median(one.cpu_seconds for one in runs), 2),
        "memory_mib": round(max(one.rss_bytes for one in runs) / MIB, 1),
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as lines for a person."""
    shown = []
    if figures["rates"]:
        shown += [f"{figures['transactions']:,} transactions, 12 reconciliations", ""]
        shown.append(f"{'processes':<12}{'transactions/s':>15}{'CPU seconds':>13}")
        for name, rate in figures["rates"].items():
            count, cpu = name.removeprefix("processes_"), figures["cpu_seconds"][name]
            shown.append(f"{count:<12}{rate:>15,}{cpu:>13.1f}")
        shown.append("")
    if figures["restarts"]:
        shown.append(f"restart to first commit, median of {figures['runs']}")
        shown.append(f"{'open':>12}{'running s':>11}{'opened s':>10}{'commit s':>10}{'at most':>9}")
        shown += [
            f"{row['open_transactions']:>12,}{row['running_seconds']:>11.2f}"
            f"{row['opened_seconds']:>10.2f}{row['committed_seconds']:>10.2f}"
            f"{row['committed_seconds_max']:>9.2f}"
            for row in figures["restarts"]
        ]
    return shown


def document(figures: dict[str, Any]) -> str:
    """Return the figures as a page of Markdown, written anew each time."""
    machine = figures["machine"]
    shown = [
        _HEAD,
        f"Measured on {figures['measured_at'][:10]}, on {machine['cpus']} cores that broker and",
        f"Postgres share with the flow (load {machine['load_average']} before).",
        *_busy(machine["load_average"]),
        "",
    ]
    if figures["rates"]:
        shown += ["## Throughput against processes", "", *_throughput(figures), ""]
    if figures["restarts"]:
        shown += ["## Restart to first commit against open state", "", *_restarts(figures), ""]
    return "\n".join(shown)


_HEAD = """\
# Scaling

Written by `settler bench scaling --document`; do not edit by hand. How to add processes is told in
[the runbook](runbooks/scaling.md).
"""


def _busy(load_average: float) -> list[str]:
    if load_average <= BUSY:
        return []
    return [
        "**The machine was busy with other work: every figure is worse than it would be alone.**"
    ]


def _throughput(figures: dict[str, Any]) -> list[str]:
    first = next(iter(figures["rates"].values()))
    return [
        f"{figures['transactions']:,} transactions of 12 reconciliations, from the first",
        "reconciliation opened to the last event committed; CPU seconds are the flow's, with its",
        "start. A cluster needs a core for each process beside what broker and Postgres take: with",
        "more processes than cores there is nothing to gain, and what crosses between processes",
        "costs. A process of a cluster also waits for each of its commits, for its peers save",
        "offsets on the strength of them.",
        "",
        "| processes | transactions/s | against the first | CPU seconds |",
        "|---|---|---|---|",
        *(
            f"| {name.removeprefix('processes_')} | {rate:,} | {rate / first:.2f} "
            f"| {figures['cpu_seconds'][name]:.1f} |"
            for name, rate in figures["rates"].items()
        ),
    ]


def _restarts(figures: dict[str, Any]) -> list[str]:
    return [
        "All open transactions belong to one reconciliation, the hardest case: several are opened",
        "one after another, and each commits as soon as it is. The flow is killed, and another is",
        "started in an empty folder under the same lease holder, which is what a supervisor does,",
        "and what a pod comes back with when its machine is lost: nothing of the flow is kept",
        "outside Postgres. Seconds from the start of the process, medians of",
        f"{figures['runs']} restarts. Under another name it waits first until the lease of the one",
        "before has run out (`SETTLER_LEASE_SECONDS`).",
        "",
        "| open | snapshot MiB | folded | running s | opened s | commit s | most | CPU s | MiB |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['open_transactions']:,} | {row['snapshot_mib']:,} | {row['folded']:,} "
            f"| {row['running_seconds']:.2f} | {row['opened_seconds']:.2f} "
            f"| {row['committed_seconds']:.2f} | {row['committed_seconds_max']:.2f} "
            f"| {row['cpu_seconds']:.2f} | {row['memory_mib']:,} |"
            for row in figures["restarts"]
        ),
    ]
