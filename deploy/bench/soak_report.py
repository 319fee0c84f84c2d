"""What the soak comes to: as one object, as lines for people, as a document with a plot."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from deploy.bench.pipeline import MIB
from deploy.bench.soak import Plan, Sample, Soak

#: The state has come about after so many turnovers; what is before is left out of the verdict.
WARM_UP_TURNOVERS = 2
#: Flat: from the first quarter after the warm-up to the last, it grows by no more than this share.
GROWTH_MAX = 0.05

_WIDTH, _HEIGHT = 800, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 24, 40


def summarize(plan: Plan, soak: Soak, load_average: float) -> dict[str, Any]:
    """Return the figures; memory in MiB.

    Args:
        load_average: What the machine was busy with before; above a few tenths, distrust the rest.
    """
    after = WARM_UP_TURNOVERS * plan.turnover_seconds
    settled = [one for one in soak.samples if one.at_seconds >= after] or soak.samples
    first, last = _quarters([one.flow_bytes / MIB for one in settled])
    growth = last / first - 1
    return {
        "benchmark": "soak",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": plan.minutes,
        "transactions": soak.transactions,
        "turnover_seconds": plan.turnover_seconds,
        "broker": plan.broker,
        "machine": {"cpus": os.cpu_count(), "load_average": round(load_average, 2)},
        "flat": growth <= GROWTH_MAX,
        "rates": {"transactions": plan.rate},
        "ratios": {"flow_last_vs_first_quarter": round(1 + growth, 3)},
        "latency_ms": {"behind_at_the_end": round(soak.behind_seconds * 1000)},
        "memory_mib": {
            "flow_first_quarter": round(first, 1),
            "flow_last_quarter": round(last, 1),
            "flow_peak": round(max(one.flow_bytes for one in soak.samples) / MIB, 1),
            "projections_peak": round(max(one.projections_bytes for one in soak.samples) / MIB, 1),
        },
        "cpu_seconds": {name: round(value, 1) for name, value in soak.cpu_seconds.items()},
        "samples": [
            [round(one.at_seconds), round(one.flow_bytes / MIB), round(one.projections_bytes / MIB)]
            for one in soak.samples
        ],
    }


def _quarters(values: Sequence[float]) -> tuple[float, float]:
    """Means of the first and of the last quarter."""
    count = max(1, len(values) // 4)
    return fmean(values[:count]), fmean(values[-count:])


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as lines for a person."""
    memory, rate = figures["memory_mib"], figures["rates"]["transactions"]
    verdict = "flat" if figures["flat"] else "NOT FLAT"
    last = f"{memory['flow_last_quarter']:,} in the last, peak {memory['flow_peak']:,}: {verdict}"
    return [
        f"{figures['transactions']:,} transactions in {figures['minutes']:g} minutes, {rate:,}/s",
        f"flow: {memory['flow_first_quarter']:,} MiB in the first quarter, {last}",
        f"projections: peak {memory['projections_peak']:,} MiB",
    ]


def document(figures: dict[str, Any], plot_name: str) -> str:
    """Return the figures as a page of Markdown, written anew each time."""
    memory, machine = figures["memory_mib"], figures["machine"]
    ratio = figures["ratios"]["flow_last_vs_first_quarter"]
    verdict = "Flat." if figures["flat"] else "**Not flat.**"
    day, count = figures["measured_at"][:10], figures["transactions"]
    rate, turnover = figures["rates"]["transactions"], figures["turnover_seconds"]
    broker = "an Apache Kafka" if figures["broker"] == "apache" else "the embedded broker"
    return f"""\
# Soak

Written by `settler bench soak --document`; do not edit by hand.

{day}: {figures["minutes"]:g} minutes at {rate:,} transactions a second, {count:,} in all,
on {machine["cpus"]} cores that {broker}, Postgres and load generator share (load
{machine["load_average"]} before). Event time runs fast: what is remembered of each transaction,
seven days, passes in {turnover:g} s. Quarters are those after {WARM_UP_TURNOVERS} such turnovers.
{verdict}

![memory over time]({plot_name})

| figure | value |
|---|---|
| flow, mean of the first quarter | {memory["flow_first_quarter"]:,} MiB |
| flow, mean of the last quarter | {memory["flow_last_quarter"]:,} MiB |
| last ÷ first, at most {1 + GROWTH_MAX:.2f} | {ratio:.3f} |
| flow, peak | {memory["flow_peak"]:,} MiB |
| projections, peak | {memory["projections_peak"]:,} MiB |
| last record sent to last match readable | {figures["latency_ms"]["behind_at_the_end"]:,} ms |
| CPU seconds, flow and projections | {figures["cpu_seconds"]["flow"]:,}, \
{figures["cpu_seconds"]["projections"]:,} |
"""


def plot(samples: Sequence[Sample]) -> str:
    """Return memory over time as an SVG image."""
    seconds = max(one.at_seconds for one in samples) or 1.0
    top = max(max(one.flow_bytes, one.projections_bytes) for one in samples) / MIB * 1.1
    step = _round_step(top)

    def place(at: float, mib: float) -> str:
        across = _LEFT + at / seconds * (_WIDTH - _LEFT - _RIGHT)
        down = _HEIGHT - _BOTTOM - mib / top * (_HEIGHT - _TOP - _BOTTOM)
        return f"{across:.1f},{down:.1f}"

    def curve(values: Sequence[int], colour: str) -> str:
        points = " ".join(
            place(one.at_seconds, value / MIB) for one, value in zip(samples, values, strict=True)
        )
        return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>'

    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12"'
    shown = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for mib in range(0, int(top) + 1, step):
        x, y = place(0, mib).split(",")
        shown.append(f'<path d="M{x} {y}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        shown.append(f'<text x="{_LEFT - 6}" y="{float(y) + 4}" text-anchor="end">{mib}</text>')
    for tenth in range(0, 11, 2):
        at = seconds * tenth / 10
        x = place(at, 0).split(",")[0]
        label = f"{at / 60:.3g}"
        shown.append(f'<text x="{x}" y="{_HEIGHT - 22}" text-anchor="middle">{label}</text>')
    shown += [
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">minutes</text>',
        f'<text x="{_LEFT}" y="16">MiB</text>',
        f'<text x="{_LEFT + 40}" y="16" fill="#1f6fb4">flow</text>',
        f'<text x="{_LEFT + 80}" y="16" fill="#c05020">projections</text>',
        curve([one.flow_bytes for one in samples], "#1f6fb4"),
        curve([one.projections_bytes for one in samples], "#c05020"),
        "</svg>",
    ]
    return "\n".join(shown) + "\n"


def _round_step(top: float) -> int:
    """A distance of lines, 1, 2 or 5 times a power of ten, that gives at most ten of them."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if top / step <= 10:
                return step
        power *= 10
