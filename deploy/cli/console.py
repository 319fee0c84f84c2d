"""How commands speak: data to standard output, words about it to standard error, exit codes.

0 ok, 1 the thing checked does not hold or could not be done, 2 unusable input.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.starting import load_structlog

if TYPE_CHECKING:
    from connectors.settings import Settings

OK, DOES_NOT_HOLD, UNUSABLE = 0, 1, 2

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def load_settings(role: str = "cli") -> "Settings":
    """Read the settings and set logging up; commands that print data log warnings only."""
    load_structlog()
    from connectors.settings import Settings
    from connectors.telemetry import configure_logging

    settings = Settings.load()
    if role == "cli":
        settings = settings.model_copy(update={"log_level": "warning", "log_format": "console"})
    configure_logging(settings, role)
    return settings


def say(text: str) -> None:
    """Print words for the person at the terminal."""
    print(text, file=sys.stderr)


def fail(text: str, code: int = UNUSABLE) -> typer.Exit:
    """Say what is wrong; raise the returned exit."""
    say(f"settler: {text}")
    return typer.Exit(code)


def print_json(value: object) -> None:
    """Print one JSON document."""
    print(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print rows as a JSON array of objects, or as a table of the named columns.

    A table into a pipe is tab-separated, so that other tools can cut it.
    """
    rows = list(rows)
    if as_json:
        print_json(rows)
    elif not sys.stdout.isatty():
        for row in rows:
            print("\t".join(_shown(row.get(column)) for column in columns))
    elif rows:
        _print_table(rows, columns)
    else:
        say("none")


def print_record(record: Mapping[str, Any], as_json: bool) -> None:
    """Print one record: JSON, or a line for each field."""
    if as_json:
        print_json(record)
        return
    width = max(map(len, record), default=0)
    for name, value in record.items():
        print(f"{name:<{width}}  {_shown(value)}")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give what to tell the progress to, done and total: a bar on a terminal, elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(_shown(row.get(column)) for column in columns))
    Console().print(table, markup=False)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return str(value)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", errors="backslashreplace")
    return str(value)
