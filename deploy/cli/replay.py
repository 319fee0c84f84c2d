"""`settler replay`: a reconciliation as it stood."""

from typing import Annotated, Any

import typer

from deploy.cli.console import (
    Json,
    fail,
    load_settings,
    print_json,
    print_record,
    print_rows,
    say,
)
from deploy.cli.database import operator

SHOWN = 20
_LISTS = ("totals", "open", "exceptions", "suggestions")
_COLUMNS = {
    "totals": (
        "side", "currency", "accepted", "pending", "suggested", "exception", "matched",
        "duplicate", "superseded",
    ),
    "open": ("side", "transaction_id", "amount", "currency", "occurred_at", "place"),
    "exceptions": (
        "side", "transaction_id", "category", "amount", "currency", "exception_id", "candidates",
    ),
    "suggestions": ("match_id", "rule", "source_ids", "target_ids"),
}  # fmt: skip


def replay(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    reconciliation: Annotated[str, typer.Argument(help="Its reconciliation.")],
    as_of: Annotated[
        str | None,
        typer.Option(
            help="A global position, or an instant such as 2026-03-02T18:00:00Z. Default: now."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"Of each list at most. Default {SHOWN}; all with --json."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rebuild a reconciliation as it stood at a moment, from snapshots, journals and events.

    It is shown as it was committed with the event of that position, or as it stood at the instant.
    The same moment always gives the same output, byte for byte.

    Exit 0: it is shown. 1: state and events contradict each other, or that past is no longer kept.
    2: there is nothing by that name, or not yet then.

    Example: settler replay acme shop-stripe --as-of 2026-03-02T18:00:00Z
    """
    settings = load_settings()
    from deploy.replaying import replay as run
    from domain.replay import AsOfInvalid, parse_as_of

    try:
        moment = None if as_of is None else parse_as_of(as_of)
    except AsOfInvalid as problem:
        raise fail(f"--as-of {as_of} {problem}") from problem
    shown = limit if as_json or limit is not None else SHOWN
    with operator(settings) as connection:
        found = run(connection, tenant, reconciliation, moment, limit=shown)
    if as_json:
        print_json(found)
        return
    lists = {name: found.pop(name) for name in _LISTS}
    print_record(found, as_json=False)
    for name, rows in lists.items():
        if rows:
            say(f"\n{name}")
            print_rows(map(_flat, rows), _COLUMNS[name], as_json=False)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Write a count with its amount as one text."""
    return {
        name: f"{value['count']} / {value['amount']}" if isinstance(value, dict) else value
        for name, value in row.items()
    }
