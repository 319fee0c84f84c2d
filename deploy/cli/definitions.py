"""`settler definitions`: what is reconciled, and by which rules."""

import json
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli import backtest, lint
from deploy.cli.console import Json, fail, load_settings, print_json, print_rows, say
from deploy.cli.database import load_queries, operator

if TYPE_CHECKING:
    from psycopg import Connection

    from connectors.postgres.inbox import CommandState

definitions = typer.Typer(
    no_args_is_help=True, help="Definitions: lint, backtest, put, show, list."
)
definitions.command("lint")(lint.lint)
definitions.command("backtest")(backtest.backtest)

COLUMNS = ("tenant_id", "reconciliation_id", "version", "name", "defined_at")
POLL_SECONDS = 0.1


@definitions.command("put")
def put(
    file: Annotated[Path, typer.Argument(help="YAML or JSON; - is standard input.")],
    tenant: Annotated[str | None, typer.Option(help="When the file names none.")] = None,
    wait_seconds: Annotated[
        float, typer.Option(min=0, help="How long to wait for the flow; 0 does not wait.")
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Define a reconciliation, or give it a new version; the running flow decides it.

    Example: settler definitions put shop-stripe.yaml --tenant acme
    """
    settings = load_settings()
    from connectors.postgres import inbox
    from domain.definition_parsing import parse_definition

    definition = parse_definition(_read(file), tenant_id=tenant)
    command_id = str(uuid.uuid4())
    command = inbox.Command(
        command_id,
        definition.tenant_id,
        definition.reconciliation_id,
        "define",
        {"definition": definition.raw},
        "operator",
        command_id,
    )
    with operator(settings) as connection:
        inbox.submit(connection, command)
        state = _wait(connection, command_id, wait_seconds)
    name = f"{definition.tenant_id}/{definition.reconciliation_id}"
    outcome = {"command_id": command_id, "status": state.status, "outcome": state.outcome}
    if as_json:
        print_json(outcome)
    elif state.status == "done":
        say(f"definitions: {name} is defined, {json.dumps(state.outcome)}")
    elif state.status == "pending":
        say(f"definitions: {name} is handed in as command {command_id}, not decided yet")
    if state.status == "refused":
        raise fail(f"the flow refused {name}: {json.dumps(state.outcome)}", code=1)
    if state.status == "pending" and wait_seconds:
        raise fail(f"no flow decided within {wait_seconds:g} s; does one run?", code=1)


@definitions.command("show")
def show(
    tenant_id: Annotated[str, typer.Argument()],
    reconciliation_id: Annotated[str, typer.Argument()],
    version: Annotated[int | None, typer.Option(min=1, help="Default the newest.")] = None,
    as_json: Json = False,
) -> None:
    """Print a definition as YAML, ready to be changed and put again.

    Example: settler definitions show acme shop-stripe > shop-stripe.yaml
    """
    settings = load_settings()
    import yaml

    asked = {
        "tenant_id": tenant_id,
        "reconciliation_id": reconciliation_id,
        "version": version,
    }
    with operator(settings) as connection:
        row = connection.execute(load_queries("definitions")["get_definition"], asked).fetchone()
    if row is None:
        what = "definition" if version is None else f"version {version}"
        raise fail(f"there is no {what} of {tenant_id}/{reconciliation_id}")
    if as_json:
        print_json(row[0])
    else:
        print(yaml.safe_dump(row[0], sort_keys=False, allow_unicode=True), end="")


@definitions.command("list")
def list_definitions(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    as_json: Json = False,
) -> None:
    """List reconciliations with the newest version of each definition.

    Example: settler definitions list --tenant acme
    """
    settings = load_settings()
    from psycopg.rows import dict_row

    query = load_queries("definitions")["list_definitions"]
    with operator(settings) as connection, connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, {"tenant_id": tenant}).fetchall()
    print_rows(rows, COLUMNS, as_json)


def _read(file: Path) -> object:
    import yaml

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        return yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise fail(f"{file} cannot be read as YAML or JSON: {exc}") from exc


def _wait(connection: "Connection[Any]", command_id: str, seconds: float) -> "CommandState":
    from connectors.postgres.inbox import read_command_state

    deadline = time.monotonic() + seconds
    while True:
        state = read_command_state(connection, command_id)
        assert state is not None, "it was submitted on this connection"
        if state.status != "pending" or time.monotonic() >= deadline:
            return state
        time.sleep(POLL_SECONDS)
