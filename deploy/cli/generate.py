"""`settler generate`: transactions whose right reconciliation is known, to files or to Kafka."""

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.console import Json, fail, load_settings, print_json, say

if TYPE_CHECKING:
    from connectors.settings import Settings
    from connectors.synthetic.workload import Rates


def generate(
    out: Annotated[
        Path, typer.Option(help="Directory for the truth, the definitions and the files.")
    ],
    transactions: Annotated[int, typer.Option(min=1, help="At least this many.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    ending: Annotated[
        str, typer.Option(help="The last day of event times; give it to get the same bytes again.")
    ] = "2026-01-31",
    period_days: Annotated[int, typer.Option(min=1, max=90, help="Days of event time.")] = 30,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SHARE, any number of times, such as late=0.02 or invalid=0."),
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    kafka: Annotated[bool, typer.Option("--kafka", help="To the topics instead of files.")] = False,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Of topics not there yet; default SETTLER_TOPIC_PARTITIONS."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Generate three reconciliations with seeded errors, and the exact truth about them.

    Into OUT go TENANT/RECONCILIATION/definition.yaml with source and target files (with --kafka
    only the definitions), and truth/*.jsonl: matches, exceptions, dead letters, counts.

    Example: settler generate --out load --transactions 100000 --seed 7 --rate late=0.02
    """
    from connectors.synthetic import broken, files, topics
    from connectors.synthetic.facts import Facts, write_facts
    from connectors.synthetic.workload import Workload

    if file_format not in files.FORMATS:
        raise fail(f"--format is {file_format!r}; give one of {', '.join(files.FORMATS)}")
    try:
        workload = Workload(
            seed=seed,
            transactions=transactions,
            ending_at_us=_end_of_day_us(ending),
            rates=_rates(rate or []),
            period_days=period_days,
            invalid_kinds=tuple(broken.KINDS) if kafka else files.invalid_kinds(file_format),
        )
    except ValueError as exc:
        raise fail(str(exc)) from exc
    facts = Facts()
    if kafka:
        settings = load_settings()
        files.write_definitions(workload, out)
        _create_topics(settings, partitions)
        sent = topics.send_workload(workload, facts, settings.kafka_config(), settings.topic_prefix)
        where = f"topics {settings.topic_prefix}.transactions.*"
    else:
        sent = files.write_workload(workload, facts, out, file_format)
        where = str(out)
    write_facts(out / "truth", facts)
    if as_json:
        print_json(
            {
                "messages": sent,
                "matches": len(facts.matches),
                "exceptions": len(facts.exceptions),
                "dead_letters": len(facts.dead_letters),
                "redelivered": sum(facts.redelivered.values()),
            }
        )
    say(f"generated {sent:,} records into {where}; the truth is in {out / 'truth'}")


def register(app: typer.Typer) -> None:
    """Add the command to the `settler` command."""
    app.command()(generate)


def _create_topics(settings: "Settings", partitions: int | None) -> None:
    from confluent_kafka import KafkaException

    from connectors.synthetic.topics import create_topics

    try:
        create_topics(
            settings.kafka_config(),
            settings.topic_prefix,
            partitions or settings.topic_partitions,
            settings.topic_replication_factor,
        )
    except KafkaException as exc:
        raise fail(
            f"Kafka at {settings.kafka_bootstrap_servers} did not create the topics: "
            f"{exc.args[0].str()}; check SETTLER_KAFKA_BOOTSTRAP_SERVERS and that it runs",
            code=1,
        ) from exc


def _end_of_day_us(day: str) -> int:
    try:
        first = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"--ending is {day!r}; give a day such as 2026-01-31") from None
    return (int(first.timestamp()) + 86_400) * 1_000_000


def _rates(given: list[str]) -> "Rates":
    from connectors.synthetic.workload import Rates

    known = [item.name for item in fields(Rates)]
    chosen: dict[str, float] = {}
    for text in given:
        name, _, share = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known:
            raise ValueError(f"--rate {text!r}: the rates are {', '.join(known)}")
        try:
            chosen[name] = float(share)
        except ValueError:
            raise ValueError(f"--rate {text!r}: give a share from 0 to 1, as {name}=0.01") from None
    return Rates(**chosen)
