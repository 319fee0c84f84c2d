"""`settler events`: the log as it was committed."""

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.console import fail, load_settings
from deploy.cli.database import load_queries, operator

if TYPE_CHECKING:
    from psycopg import Connection

BATCHES = 20
FOLLOW_SECONDS = 0.5


def events(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    aggregate_id: Annotated[
        str | None, typer.Option(help="Only this reconciliation's; needs --tenant.")
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(help="Only what belongs together.")] = None,
    event_type: Annotated[str | None, typer.Option(help="Only this type.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Start behind this global position.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Default 100; none with --follow.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as events commit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print committed events in commit order, oldest first.

    Example: settler events --tenant acme --aggregate-id shop-stripe --event-type RecordMatched
    """
    settings = load_settings()
    if aggregate_id is not None and tenant is None:
        raise fail("--aggregate-id needs --tenant: ids of reconciliations are a tenant's own")
    asked = {
        "tenant_id": tenant,
        "stream_id": None if aggregate_id is None else f"{tenant}/{aggregate_id}",
        "correlation_id": correlation_id,
    }
    left = limit if limit is not None or follow else 100
    with operator(settings) as connection:
        for event in _read(connection, asked, after, follow):
            if event_type is not None and event["event_type"] != event_type:
                continue
            print(json.dumps(event, default=str, ensure_ascii=False) if as_json else _line(event))
            if follow:
                sys.stdout.flush()
            if left is not None:
                left -= 1
                if not left:
                    return


def _read(
    connection: "Connection[Any]", asked: dict[str, str | None], after: int, follow: bool
) -> Iterator[dict[str, Any]]:
    from psycopg.rows import dict_row

    from domain.naming import name_events

    query = load_queries("events")["list_batches"]
    while True:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(query, {**asked, "after": after, "limit": BATCHES}).fetchall()
        for row in rows:
            yield from name_events(row, start=max(0, after + 1 - row["first_position"]))
            after = row["last_position"]
        if len(rows) < BATCHES:
            if not follow:
                return
            time.sleep(FOLLOW_SECONDS)


def _line(event: dict[str, Any]) -> str:
    data = json.dumps(event["data"], default=str, ensure_ascii=False)
    place = f"{event['global_position']}\t{event['created_at'].isoformat(timespec='milliseconds')}"
    stream = f"{event['stream_id']}@{event['stream_version']}"
    return f"{place}\t{stream}\t{event['event_type']}\t{data}"
