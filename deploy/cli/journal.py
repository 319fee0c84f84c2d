"""`settler journal`: how long accepted transactions are kept in the log."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from deploy.cli.console import Json, fail, load_settings, print_rows, say
from deploy.cli.database import operator

journal = typer.Typer(no_args_is_help=True, help="The journals of accepted transactions: expire.")
COLUMNS = ("reconciliation", "version", "position", "journals", "journal_bytes")


@journal.callback()
def group() -> None:
    """Look after the journals."""


@journal.command("expire")
def expire(
    days: Annotated[
        int | None,
        typer.Option(min=1, help="Keep this many days. Default: SETTLER_JOURNAL_DAYS."),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Let journals older than some days go; a snapshot of each reconciliation stands in for them.

    Events are never deleted, and every state since then can still be replayed. Run it once a day;
    a flow may be running. Run again after an interruption it goes on where it stopped.

    Example: settler journal expire --days 90
    """
    settings = load_settings()
    from connectors.postgres.retention import expire_journals, list_reconciliations

    kept_days = days if days is not None else settings.journal_days
    if kept_days is None:
        raise fail("say how many --days of journals to keep, or set SETTLER_JOURNAL_DAYS")
    before = datetime.now(UTC) - timedelta(days=kept_days)
    with operator(settings) as connection:
        gone = [
            expire_journals(connection, *scope, before, dry_run=dry_run)
            for scope in list_reconciliations(connection, tenant)
        ]
    rows = [{"reconciliation": one.stream_id, **one._asdict()} for one in gone if one.journals]
    print_rows(
        [{column: row[column] for column in COLUMNS} for row in rows], COLUMNS, as_json=as_json
    )
    what = "would go" if dry_run else "are gone"
    say(
        f"journal: {sum(one.journals for one in gone):,} journals stored before "
        f"{before.isoformat(timespec='seconds')} {what}, "
        f"{sum(one.journal_bytes for one in gone):,} bytes"
    )
