"""`settler reconcile`: two files against each other, without any service."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli.console import Json, fail, print_json, say

# A run that is over sooner needs no progress bar.
PROGRESS_AFTER_SECONDS = 1.0


def reconcile(
    definition: Annotated[Path, typer.Option(help="The definition, YAML or JSON.")],
    source: Annotated[Path, typer.Option(help="The source side: CSV, JSONL or Parquet.")],
    target: Annotated[Path, typer.Option(help="The target side: CSV, JSONL or Parquet.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory for the result files; none are written without.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Of CSV files; otherwise found in their header.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Reconcile two files with the engine of the flow; the end of the files is the end of time.

    With --out it writes matches.jsonl, exceptions.jsonl, rejected.jsonl and summary.json, the same
    bytes whenever it is run again. Exit code 0, or 2 when the input cannot be used.

    Example: settler reconcile --definition shop.yaml --source orders.csv --target charges.csv
    --out result
    """
    from connectors.files.definition_file import read_definition
    from connectors.files.errors import FileUnusable
    from connectors.files.summary import summarise
    from deploy.reconcile_files import reconcile_files, write_results
    from domain.errors import DefinitionInvalid

    started = time.monotonic()
    if delimiter is not None and len(delimiter) != 1:
        raise fail(f"--delimiter is {delimiter!r}; give one character")
    try:
        checked = read_definition(definition)
        with _progress() as progress:
            results = reconcile_files(
                checked, source, target, delimiter=delimiter, progress=progress
            )
        summary = summarise(results) if out is None else write_results(results, out)
    except FileUnusable as exc:
        raise fail(str(exc)) from exc
    except DefinitionInvalid as exc:
        raise fail(f"{definition}: {exc}") from exc
    if as_json:
        print_json(summary)
    else:
        _print_tables(summary)
    seconds = time.monotonic() - started
    say(f"reconciled {summary['counts']['read']:,} records in {seconds:.1f} s" + _where(out))


def register(app: typer.Typer) -> None:
    """Add the command to the `settler` command."""
    app.command()(reconcile)


def _where(out: Path | None) -> str:
    return ", no files written: name a directory with --out" if out is None else f", see {out}"


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """A moving bar on a terminal, from the first second on."""
    if not sys.stderr.isatty():
        yield lambda _side, _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    started = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("reading", total=None)

    def progress(side: str, count: int) -> None:
        if time.monotonic() - started >= PROGRESS_AFTER_SECONDS:
            bar.start()
            bar.update(task, description=f"{side}: {count:,} records")

    try:
        yield progress
    finally:
        bar.stop()


def _print_tables(summary: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    counts = summary["counts"]
    table = Table(title=f"{summary['tenant_id']}/{summary['reconciliation_id']}", box=None)
    table.add_column("")
    for name in ("source", "target"):
        table.add_column(name, justify="right")
    for name in ("accepted", "matched", "suggested", "exception", "duplicate"):
        sides = counts["transactions"]
        table.add_row(name, *(f"{sides[side][name]:,}" for side in ("source", "target")))
    for currency, sides in summary["amounts"].items():
        for name in ("accepted", "matched"):
            amounts = (sides[side][name] for side in ("source", "target"))
            table.add_row(f"{name} {currency}", *amounts)
    console.print(table)
    for category, count in summary["exceptions_by_category"].items():
        console.print(f"  {category}: {count:,}", highlight=False)
    accuracy = summary["accuracy"]
    console.print(
        f"{counts['matches']:,} matches, {counts['suggestions']:,} suggestions, "
        f"{counts['exceptions']:,} exceptions, {counts['rejected']:,} rejected, "
        f"{counts['redelivered']:,} redelivered; accuracy "
        + ("-" if accuracy is None else f"{accuracy:.2%}")
        + f"; every record accounted for: {'yes' if summary['conserved'] else 'NO'}",
        highlight=False,
    )
