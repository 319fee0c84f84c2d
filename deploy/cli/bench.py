"""`settler bench NAME`: how fast, how late and how large, beside its peers; and how unbreakable."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from deploy.cli.console import DOES_NOT_HOLD, Json, fail, load_settings, print_json, say

bench = typer.Typer(no_args_is_help=True, help="Benchmarks, each with its peer in the same run.")

Broker = Annotated[
    Literal["embedded", "apache"],
    typer.Option(help="apache: a real Apache Kafka, which takes Java 17 and Maven."),
]

QUICK_TRANSACTIONS = 20_000
QUICK_OPEN = 10_000
QUICK_SECONDS = 2.0
QUICK_CLIENTS = 20
QUICK_CASE_SECONDS = 1.0
QUICK_SEARCHES = 10
BUSY = 0.5


@bench.callback()
def benchmarks() -> None:
    """Benchmarks, each with its peer in the same run.

    Example: settler bench pipeline --runs 5
    """


@bench.command("pipeline")
def pipeline(
    transactions: Annotated[int, typer.Option(min=2, help="Records to reconcile.")] = 600_000,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Prints medians over them.")] = 1,
    open_transactions: Annotated[
        int, typer.Option("--open", min=0, help="Open ones for the memory; 0 leaves it out.")
    ] = 1_000_000,
    latency_seconds: Annotated[
        float, typer.Option(min=0, help="How long the steady half load lasts; 0 leaves it out.")
    ] = 20.0,
    quick: Annotated[bool, typer.Option(help="Small numbers: shows that it works.")] = False,
    as_json: Json = False,
) -> None:
    """Measure Kafka to committed events to readable matches, on an embedded stack of its own.

    Beside it, on the same records: the plain Bytewax flow (KafkaSource, op.join, batched INSERT)
    and a hand-written loop without durable state (msgspec, one dict, COPY).

    Example: settler bench pipeline --json
    """
    load_settings()
    from deploy.bench.pipeline import PipelineBench, Plan
    from deploy.bench.report import lines, summarize

    plan = Plan(transactions, open_transactions, latency_seconds)
    if quick:
        plan = Plan(QUICK_TRANSACTIONS, min(open_transactions, QUICK_OPEN), QUICK_SECONDS)
    load_average = _load_average()
    measuring = PipelineBench(plan, lambda text: say(f"bench: {text}"))
    done = []
    memory: dict[str, float] = {}
    with measuring.prepared():
        for number in range(runs):
            say(f"bench: run {number + 1} of {runs}")
            done.append(measuring.run())
        if plan.open_transactions:
            memory = measuring.run_open()
    figures = summarize(plan, done, memory, load_average)
    if as_json:
        print_json(figures)
    else:
        print("\n".join(lines(figures)))


@bench.command("api")
def api(
    clients: Annotated[int, typer.Option(min=1, max=1000, help="That ask at a time.")] = 100,
    seconds: Annotated[
        float, typer.Option(min=0.5, max=600, help="Of each case and server; a quarter warms up.")
    ] = 8.0,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Prints medians over them.")] = 1,
    listeners: Annotated[
        int, typer.Option(min=0, max=6_000, help="Live streams to hold open; 0 leaves them out.")
    ] = 0,
    idle_seconds: Annotated[
        float, typer.Option(min=1, max=600, help="How long idle streams are watched.")
    ] = 30.0,
    quick: Annotated[bool, typer.Option(help="Small numbers: shows that it works.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the API under load: a summary, and the first page of exceptions.

    Beside it, in the same run: a bare Starlette route that makes the same query. The cases: both as
    clients ask for them again and again; a page that is never kept; and an unchanged one (304).

    Example: settler bench api --runs 3 --listeners 5000
    """
    load_settings()
    from deploy.bench.api import ApiBench, Plan
    from deploy.bench.api_listeners import measure_listeners
    from deploy.bench.api_report import lines, summarize

    plan = Plan(clients, seconds)
    if quick:
        plan = Plan(min(clients, QUICK_CLIENTS), QUICK_CASE_SECONDS)
        idle_seconds = QUICK_SECONDS
    load_average = _load_average()
    measuring = ApiBench(plan)
    done = []
    held: dict[str, float] = {}
    with measuring.prepared():
        for number in range(runs):
            say(f"bench: run {number + 1} of {runs}")
            done.append(measuring.run())
        if listeners:
            say(f"bench: {listeners} live streams")
            held = measure_listeners(measuring, listeners, idle_seconds)
    figures = summarize(plan, done, measuring.rss_bytes_max, held, load_average)
    if as_json:
        print_json(figures)
    else:
        print("\n".join(lines(figures)))


@bench.command("cold")
def cold(
    open_transactions: Annotated[
        int, typer.Option("--open", min=1_000, help="Open ones to fill in first.")
    ] = 1_000_000,
    hot: Annotated[int, typer.Option(min=1_000, help="Transactions held in memory.")] = 100_000,
    sample: Annotated[int, typer.Option(min=1_000, help="Of each measurement.")] = 100_000,
    quick: Annotated[bool, typer.Option(help="Small numbers: shows that it works.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a window most of whose open transactions lie in Postgres and not in memory.

    Beside it, in the same run: the same window while it is empty.

    Example: settler bench cold --open 10000000 --hot 500000
    """
    load_settings()
    from deploy.bench.cold import ColdBench, Plan, lines

    plan = Plan(open_transactions, hot, sample)
    if quick:
        plan = Plan(QUICK_OPEN, QUICK_OPEN // 10, QUICK_OPEN // 4)
    _load_average()
    figures = ColdBench(plan, lambda text: say(f"bench: {text}")).run()
    if as_json:
        print_json(figures)
    else:
        print("\n".join(lines(figures)))


@bench.command("match")
def match(
    transactions: Annotated[int, typer.Option(min=2, help="Records of each case.")] = 400_000,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Prints medians over them.")] = 3,
    searches: Annotated[int, typer.Option(min=1, help="Subset searches of each kind.")] = 200,
    quick: Annotated[bool, typer.Option(help="Small numbers: shows that it works.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the matching engine by itself, on one core, without Kafka and Postgres.

    Beside it, on the same records: reconcile-py, and a join of Polars as what the machine can do.
    They are optional, and a line says how to install them where they are missing.

    Example: settler bench match --json
    """
    from deploy.bench import match_peers
    from deploy.bench.match import measure, one_core, peak_mib
    from deploy.bench.match_report import lines, summarize

    missing = match_peers.missing()
    if missing:
        command = f"{sys.executable} -m pip install {' '.join(missing)}"
        say(f"bench: without peers, which are not installed; to have them: {command}")
    if quick:
        transactions, runs, searches = QUICK_TRANSACTIONS, 1, QUICK_SEARCHES
    pairs = transactions // 2
    load_average = _load_average()
    done = []
    with one_core():
        for number in range(runs):
            say(f"bench: run {number + 1} of {runs}")
            done.append(
                measure(pairs, searches, lambda text: say(f"bench: {text}"), with_peers=not missing)
            )
    figures = summarize(pairs, done, peak_mib(), load_average)
    if as_json:
        print_json(figures)
    else:
        print("\n".join(lines(figures)))


def _load_average() -> float:
    load_average = os.getloadavg()[0]
    if load_average > BUSY:
        say(f"bench: the machine is busy already (load {load_average:.1f}); distrust the figures")
    return load_average


@bench.command("chaos")
def chaos(
    seeds: Annotated[str, typer.Option(help="Which to run: 7, 1-100 or 1-10,42.")] = "1",
    seconds: Annotated[
        float, typer.Option(min=4, max=3600, help="How long load and injections last.")
    ] = 20.0,
    rate: Annotated[int, typer.Option(min=10, max=20_000, help="Records a second.")] = 300,
    broker: Broker = "embedded",
    state: Annotated[
        Path | None, typer.Option(help="Remembers each seed's result; a series goes on there.")
    ] = None,
    document: Annotated[
        Path | None, typer.Option(help="Write the figures into a page of Markdown.")
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(help="Keep the processes' logs of seeds that do not hold.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the real system under load, break it as a seed decides, and judge what it comes to.

    Processes are killed and frozen, lines cut and slowed, Postgres crashed, records sent again.
    Afterwards `settler verify` must hold and the result be the generator's truth, record for
    record. Exit 1 if a seed does not hold.

    Example: settler bench chaos --seeds 1-100 --state chaos.jsonl --document chaos.md
    """
    load_settings()
    from deploy.bench.chaos import report
    from deploy.bench.chaos.run import RunSettings
    from deploy.bench.chaos.series import parse_seeds, run_series

    settings = RunSettings(seconds, rate, broker)
    results = []
    for result in run_series(
        parse_seeds(seeds), settings, lambda text: say(f"chaos: {text}"), state=state, logs=logs
    ):
        results.append(result)
        say(f"chaos: {report.line(result)}")
    figures = report.summarize(results)
    if document is not None:
        existing = document.read_text(encoding="utf-8") if document.exists() else ""
        document.write_text(report.document(figures, existing), encoding="utf-8")
    if as_json:
        print_json(figures)
    else:
        print("\n".join(report.lines(figures)))
    if not figures["holds"]:
        raise typer.Exit(DOES_NOT_HOLD)


@bench.command("scaling")
def scaling(
    transactions: Annotated[
        int, typer.Option(min=0, help="Records for the throughput; 0 leaves it out.")
    ] = 600_000,
    processes: Annotated[str, typer.Option(help="Sizes of the flow's cluster.")] = "1,2,3",
    open_transactions: Annotated[
        str, typer.Option("--open", help="How many are open at a restart, such as 10000000.")
    ] = "10000,100000,1000000",
    restarts: Annotated[int, typer.Option(min=1, max=100, help="Prints medians over them.")] = 3,
    quick: Annotated[bool, typer.Option(help="Small numbers: shows that it works.")] = False,
    document: Annotated[
        Path | None, typer.Option(help="Write the figures as a page of Markdown.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure throughput against processes, and restart to first commit against open state.

    Each restart is in an empty folder: a flow keeps nothing outside Postgres.

    Example: settler bench scaling --open 10000,1000000 --document scaling.md
    """
    load_settings()
    from deploy.bench import scaling_report as report
    from deploy.bench.scaling import Plan, ScalingBench

    sizes, opens = (_numbers(text) for text in (processes, open_transactions))
    plan = Plan(transactions, sizes, opens, restarts)
    if quick:
        plan = Plan(min(transactions, QUICK_TRANSACTIONS), sizes[:2], (QUICK_OPEN,), 1)
    load_average = _load_average()
    measuring = ScalingBench(plan, lambda text: say(f"bench: {text}"))
    with measuring.prepared():
        measured = list(measuring.throughputs()), list(measuring.restarts())
    figures = report.summarize(plan, *measured, load_average)
    if document is not None:
        document.write_text(report.document(figures), encoding="utf-8")
    if as_json:
        print_json(figures)
    else:
        print("\n".join(report.lines(figures)))


@bench.command("soak")
def soak(
    minutes: Annotated[float, typer.Option(min=0.05, max=1440, help="Of load.")] = 30.0,
    rate: Annotated[
        int, typer.Option(min=100, max=200_000, help="Transactions a second.")
    ] = 10_000,
    turnover_seconds: Annotated[
        float, typer.Option(min=1, help="In how long seven days of event time pass.")
    ] = 120.0,
    broker: Broker = "embedded",
    document: Annotated[
        Path | None, typer.Option(help="Write a page of Markdown, and its plot beside it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a steady load for a long time and record the memory of flow and projector.

    The embedded broker keeps everything in memory, about 300 bytes a transaction; an Apache Kafka
    on disk. Exit 1 if the flow's memory grows.

    Example: settler bench soak --minutes 30 --document soak.md
    """
    load_settings()
    from deploy.bench import soak_report as report
    from deploy.bench.soak import Plan, SoakBench

    plan = Plan(minutes, rate, turnover_seconds, min(2.0, minutes * 60 / 20), broker)
    load_average = _load_average()
    measuring = SoakBench(plan, lambda text: say(f"bench: {text}"))
    with measuring.prepared():
        measured = measuring.run()
    figures = report.summarize(plan, measured, load_average)
    if document is not None:
        plot = document.with_suffix(".svg")
        plot.write_text(report.plot(measured.samples), encoding="utf-8")
        document.write_text(report.document(figures, plot.name), encoding="utf-8")
    if as_json:
        print_json(figures)
    else:
        print("\n".join(report.lines(figures)))
    if not figures["flat"]:
        raise typer.Exit(DOES_NOT_HOLD)


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise fail(f"numbers above 0 are given as 1,2,3; {text!r} is not of that form")
    return tuple(map(int, parts))


def register(app: typer.Typer) -> None:
    """Add the command to the `settler` command."""
    app.add_typer(bench, name="bench")
