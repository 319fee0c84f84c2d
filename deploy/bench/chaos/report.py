"""What a series came to: as one object, as lines for people, as a document."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from deploy.bench.chaos.plan import MEANINGS, WEIGHTS, WEIGHTS_WITH_KAFKA
from deploy.bench.chaos.run import RunResult

HEADINGS = {"embedded": "## On the embedded broker", "apache": "## On Apache Kafka"}
"""Broker → the heading of its part of the page."""
FIGURES = ("lost", "doubled", "versions_missing", "unexplained")


def summarize(results: Sequence[RunResult]) -> dict[str, Any]:
    """Return the sums over all seeds, and each seed's own result."""
    injections: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for one in results:
        injections.update(one.injections)
        ends.update(one.ends)
    recoveries = [one.recovery_seconds for one in results]
    broker = results[0].settings.broker if results else "embedded"
    kinds = WEIGHTS_WITH_KAFKA if broker == "apache" else WEIGHTS
    return {
        "benchmark": "chaos",
        "holds": all(one.holds for one in results),
        "broker": broker,
        "seeds": len(results),
        "seeds_that_do_not_hold": [one.seed for one in results if not one.holds],
        "records": sum(one.landed for one in results),
        "sent_again": sum(one.landed - one.records for one in results),
        "events": sum(one.events for one in results),
        **{name: sum(getattr(one.verdict, name) for one in results) for name in FIGURES},
        "injections": {name: injections[name] for name in MEANINGS if name in kinds},
        "ends": {name: ends[name] for name in ("killed", "fenced", "broken", "other")},
        "recovery_seconds": {
            "median": round(median(recoveries), 1) if recoveries else 0.0,
            "max": max(recoveries, default=0.0),
        },
        "seconds": round(sum(one.seconds for one in results), 1),
        "each_run": [msgspec.to_builtins(one) | {"holds": one.holds} for one in results],
    }


def line(result: RunResult) -> str:
    """Return one seed's result as a line."""
    verdict = result.verdict
    counts = ", ".join(f"{getattr(verdict, name)} {name.replace('_', ' ')}" for name in FIGURES)
    return (
        f"seed {result.seed}: {'holds' if result.holds else 'DOES NOT HOLD'}: "
        f"{result.landed:,} records, {sum(result.injections.values())} injections, {counts}, "
        f"recovered in {result.recovery_seconds:.1f} s"
    )


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the sums as lines for a person, and what is wrong."""
    injections = sum(figures["injections"].values())
    records, seconds = figures["records"], figures["seconds"]
    shown = [
        f"{figures['seeds']} seeds, {records:,} records, {injections:,} injections",
        f"{seconds:,.0f} s in all",
        "",
        *(f"{name:<18}{count:>8,}" for name, count in figures["injections"].items()),
        "",
        *(f"{name.replace('_', ' '):<18}{figures[name]:>8,}" for name in FIGURES),
    ]
    for one in figures["each_run"]:
        if not one["holds"]:
            shown += ["", f"seed {one['seed']} does not hold:"]
            shown += [f"  {words}" for words in one["verdict"]["words"]]
    return shown


def document(figures: dict[str, Any], existing: str = "") -> str:
    """Return the sums as a page of Markdown.

    Args:
        existing: The page as it is; its figures of another broker are kept.
    """
    parts = _parts(existing) | {figures["broker"]: _part(figures)}
    return "\n".join([_HEAD, *(line for name in HEADINGS for line in parts.get(name, []))])


def _parts(page: str) -> dict[str, list[str]]:
    """Broker → the lines of its part of a page."""
    brokers = {heading: broker for broker, heading in HEADINGS.items()}
    parts: dict[str, list[str]] = {}
    broker = None
    for line in page.splitlines():
        broker = brokers.get(line, broker)
        if broker is not None:
            parts.setdefault(broker, []).append(line)
    # A page ends with a newline, a part with an empty line: what is joined has one of them.
    return {name: [*lines[: _length(lines)], ""] for name, lines in parts.items()}


def _length(lines: Sequence[str]) -> int:
    """How many lines there are without the empty ones at the end."""
    return max((number for number, line in enumerate(lines, 1) if line), default=0)


def _part(figures: dict[str, Any]) -> list[str]:
    runs = figures["each_run"]
    first = runs[0]["settings"]
    days = sorted({one["began_at"][:10] for one in runs})
    period = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    verdict = "Everything held." if figures["holds"] else "**Not everything held; see below.**"
    columns = ("seed", "flow processes", "records", "injections", "killed", "fenced")
    return [
        HEADINGS[figures["broker"]],
        "",
        f"{period}: {figures['seeds']} seeds of {first['seconds']:g} s at",
        f"{first['records_per_second']} records a second. {verdict}",
        "",
        *_table(("figure", "value"), _figures(figures)),
        "",
        "What was broken:",
        "",
        *_table(
            ("kind", "times", "what it is"),
            [(name, f"{count:,}", MEANINGS[name]) for name, count in figures["injections"].items()],
        ),
        "",
        "Each seed:",
        "",
        *_table((*columns, "recovery s", "wrong"), [_row(one) for one in runs]),
        "",
    ]


_HEAD = """\
# Chaos

Written by `settler bench chaos --document`; do not edit by hand.

Two flows (one stands by), the projector and the publisher run as processes on Postgres and a
broker, each behind a TCP proxy of its own. Generated records of three reconciliations arrive while
a seed decides what is broken when. Then everything is healed, all waits run out, and the end is
judged: the generator's truth, record for record; `settler verify` over log, read models and Kafka;
no transaction in two matches; no gap in positions, in any stream's versions, or in what was
published.

A seed draws the same load and the same injections at the same seconds again. What the operating
system makes of them is its own: a seed that failed once may need a few runs to fail again.

A role's clock is moved, and a flow made to break down, by a module that the driver starts the role
through: no role has a setting for it. What is moved is the clock of one role at a time, never that
of Postgres, by which everything is decided. Bytewax asks the system itself; it is played what a
clock that goes back does to it: it asks its sources no more until the clock is where it was again.

Not among the injections: a file system that is really full, instead of which Postgres answers as if
it were (a full disk under the write-ahead log is a crash, and crashes are injected). The embedded
broker keeps everything in memory, so it is frozen and cut off, but not killed; a real Kafka is that
too. While it starts again nothing is sent after the first 1.5 s, which is as long an outage as the
definitions' lateness allows for.
"""


def _figures(figures: dict[str, Any]) -> list[tuple[str, str]]:
    ends, recovery = figures["ends"], figures["recovery_seconds"]
    return [
        ("records in the topics", f"{figures['records']:,}"),
        ("of them sent again", f"{figures['sent_again']:,}"),
        ("events committed", f"{figures['events']:,}"),
        ("injections", f"{sum(figures['injections'].values()):,}"),
        ("processes killed", f"{ends['killed']:,}"),
        (
            "processes that ended themselves: lease or stream lost, or their clock went back",
            f"{ends['fenced']:,}",
        ),
        ("flows that ended by an exception of their own", f"{ends['broken']:,}"),
        ("processes that ended otherwise", f"{ends['other']:,}"),
        ("facts lost", f"{figures['lost']:,}"),
        ("facts doubled", f"{figures['doubled']:,}"),
        ("versions missing", f"{figures['versions_missing']:,}"),
        ("totals unexplained", f"{figures['unexplained']:,}"),
        ("seconds to the truth after healing, median", f"{recovery['median']:.1f}"),
        ("seconds to the truth after healing, at most", f"{recovery['max']:.1f}"),
        (
            "runs in which a role did not end in order when told to",
            str(sum(not one["stopped_in_order"] for one in figures["each_run"])),
        ),
        ("seconds in all", f"{figures['seconds']:,.0f}"),
    ]


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    late = "" if run["stopped_in_order"] else "a role did not end in order when told to"
    wrong = "; ".join(run["verdict"]["words"]) or late
    return (
        str(run["seed"]),
        str(run["flow_processes"]),
        f"{run['landed']:,}",
        str(sum(run["injections"].values())),
        str(run["ends"].get("killed", 0)),
        str(run["ends"].get("fenced", 0)),
        f"{run['recovery_seconds']:.1f}",
        wrong.replace("|", "\\|"),
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        f"|{'|'.join(['---'] * len(heads))}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
