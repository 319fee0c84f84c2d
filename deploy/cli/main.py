"""The `settler` command: gathers the groups of commands and turns errors into exit codes.

Modules of commands import what is heavy inside the command, so that `settler --help` is instant.
"""

import sys

import typer

from deploy.cli import (
    bench,
    dead_letters,
    definitions,
    demo,
    events,
    explain,
    generate,
    journal,
    keys,
    projections,
    reconcile,
    replay,
    roles,
    statement,
    tenants,
    topics,
    users,
    verify,
)
from deploy.cli.console import DOES_NOT_HOLD, UNUSABLE, say
from deploy.cli.starting import start_lightly
from domain.errors import SettlerError

HELP = "Continuous reconciliation of two streams of money: Kafka in, matches and exceptions out."

app = typer.Typer(
    name="settler",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(roles.migrate)
app.add_typer(roles.run, name="run")
app.command()(roles.up)
reconcile.register(app)
generate.register(app)
bench.register(app)
demo.register(app)
app.add_typer(topics.topics, name="topics")
app.add_typer(tenants.tenants, name="tenants")
app.add_typer(keys.keys, name="keys")
app.add_typer(users.users, name="users")
app.add_typer(users.signing_keys, name="signing-keys")
app.add_typer(definitions.definitions, name="definitions")
app.command()(events.events)
app.command()(explain.explain)
app.command()(verify.verify)
app.command()(replay.replay)
app.command()(statement.statement)
app.add_typer(journal.journal, name="journal")
app.add_typer(dead_letters.dlq, name="dlq")
app.add_typer(projections.projections, name="projections")
app.add_typer(projections.flow, name="flow")


@app.callback(invoke_without_command=True)
def settler(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Continuous reconciliation of two streams of money: Kafka in, matches and exceptions out."""
    if version:
        from importlib.metadata import version as installed

        print(installed("settler"))
        raise typer.Exit


def main() -> None:
    """Run the command line; the exit code is 0 ok, 1 does not hold, 2 unusable input."""
    start_lightly()
    try:
        app()
    except SettlerError as exc:
        say(f"settler: {exc}")
        sys.exit(UNUSABLE if exc.code.endswith("invalid") else DOES_NOT_HOLD)
    except OSError as exc:
        say(f"settler: {exc}")
        sys.exit(UNUSABLE)
    except Exception as exc:
        if not _is_database_down(exc):
            raise
        from connectors.telemetry import redact_text

        say(f"settler: the database cannot be used: {redact_text(str(exc)).strip()}")
        say("settler: check SETTLER_DATABASE_URL and that the server runs")
        sys.exit(DOES_NOT_HOLD)


def _is_database_down(exc: Exception) -> bool:
    """Ask without importing the driver: a command that never loaded it cannot have met it."""
    psycopg = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(exc, psycopg.OperationalError)


if __name__ == "__main__":
    main()
