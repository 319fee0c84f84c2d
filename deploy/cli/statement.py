"""`settler statement`: the control statement of a closed business day."""

from typing import Annotated

import typer

from deploy.cli.console import DOES_NOT_HOLD, Json, fail, load_settings, print_rows, say
from deploy.cli.database import load_queries, operator

COLUMNS = ("day", "position", "closed_at", "hash")


def statement(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    reconciliation: Annotated[str, typer.Argument(help="Its reconciliation.")],
    day: Annotated[
        str | None, typer.Option(help="A closed day, such as 2026-03-02. Default: list them.")
    ] = None,
    as_html: Annotated[
        bool, typer.Option("--html", help="A page to read and print, not the text hashed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the statement of a closed business day, or list the days that have one.

    The statements up to that day are checked first: each must be the text that was hashed, name the
    hash of the one before, open as that one closed, and add up. Without --html the very text is
    printed that the hash is of: `settler statement … --day … | sha256sum`.

    Exit 0: it is printed. 1: the chain is broken, the sentence says where. 2: there is none.

    Example: settler statement acme shop-stripe --day 2026-03-02 --html
    """
    settings = load_settings()
    from domain.statements import ChainBroken, Statement, check_chain, write_html

    with operator(settings) as connection:
        rows = connection.execute(
            load_queries("statement")["list_statements"],
            {"tenant_id": tenant, "reconciliation_id": reconciliation},
        ).fetchall()
    statements = {row[0]: Statement(*row[:4]) for row in rows}
    upto = [one for one in statements.values() if day is None or one.day <= day]
    try:
        check_chain(upto)
    except ChainBroken as problem:
        raise fail(
            f"{problem}. The statements were changed after they were written: settler projections "
            "rebuild control_totals writes them again from the log",
            DOES_NOT_HOLD,
        ) from problem
    if day is None:
        listed = [
            {"day": row[0], "position": row[4], "closed_at": row[5], "hash": row[2]} for row in rows
        ]
        print_rows(listed, COLUMNS, as_json)
        say(f"statement: {len(rows)} days, their chain holds")
        return
    if day not in statements:
        raise fail(f"{tenant}/{reconciliation} has no statement of {day}; leave --day out to list")
    found = statements[day]
    print(write_html(found) if as_html else found.text, end="")
    say(f"statement: SHA-256 {found.hash}, the chain up to it holds")
