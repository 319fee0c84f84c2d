"""`settler dlq`: records that could not be used, and taking them up again."""

import uuid
from typing import Annotated, Any

import typer

from deploy.cli.console import (
    Json,
    fail,
    load_settings,
    print_record,
    print_rows,
    say,
)
from deploy.cli.database import operator

dlq = typer.Typer(no_args_is_help=True, help="Dead letters: records that could not be used.")

COLUMNS = ("dead_letter_id", "received_at", "code", "tenant_id", "transaction_id", "message")

Tenant = Annotated[str | None, typer.Option(help="Only this tenant's.")]
LetterId = Annotated[str, typer.Argument(help="As `settler dlq list` shows it.")]


@dlq.command("list")
def list_letters(
    tenant: Tenant = None,
    code: Annotated[str | None, typer.Option(help="Only with this error code.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    after: Annotated[
        str | None, typer.Option(help="Id of the last one of the page before.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first.

    Example: settler dlq list --tenant acme --code unknown_currency
    """
    settings = load_settings()
    from connectors.postgres import dead_letters as store

    after = None if after is None else _uuid(after)
    with operator(settings) as connection:
        found = store.list_dead_letters(connection, limit, tenant, code, after)
    print_rows(map(_named, found), COLUMNS, as_json)


@dlq.command("show")
def show(letter_id: LetterId, as_json: Json = False) -> None:
    """Show one dead letter with its raw bytes.

    Example: settler dlq show 0b7c2f6e-9c0a-3a52-a4a1-5d5f0d6c1b11
    """
    settings = load_settings()
    from connectors.postgres import dead_letters as store

    with operator(settings) as connection:
        letter = store.get_dead_letter(connection, _uuid(letter_id))
    if letter is None:
        raise fail(f"there is no dead letter {letter_id}")
    print_record(_named(letter), as_json)


@dlq.command("redrive")
def redrive(
    letter_ids: Annotated[list[str] | None, typer.Argument(help="Ids, or use --code.")] = None,
    code: Annotated[str | None, typer.Option(help="All with this error code.")] = None,
    tenant: Tenant = None,
) -> None:
    """Have the flow take dead letters up again, after what was wrong has been put right.

    What is still wrong comes back with its reason; nothing is taken twice.

    Example: settler dlq redrive --code unknown_reconciliation --tenant acme
    """
    settings = load_settings()
    from connectors.postgres import dead_letters as store

    if bool(letter_ids) == bool(code) or (tenant and letter_ids):
        raise fail("name either dead letters by id, or --code with or without --tenant")
    with operator(settings) as connection:
        if code:
            count = store.request_redrive_of_code(connection, code, tenant)
        else:
            count = store.request_redrive(connection, [_uuid(i) for i in letter_ids or []])
    say(f"dlq: asked the flow to take up {count} again")
    if not count:
        raise typer.Exit(1)


def _named(letter: Any) -> dict[str, Any]:
    import msgspec

    from domain.transactions import SIDE_NAMES

    fields: dict[str, Any] = msgspec.structs.asdict(letter)
    fields["side"] = SIDE_NAMES[letter.side]
    fields["raw"] = letter.raw.decode("utf-8", errors="backslashreplace")
    return fields


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise fail(f"{text!r} is no id of a dead letter; `settler dlq list` shows them") from None
