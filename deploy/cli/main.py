"""The `settler` command: what composes the groups of commands."""

import sys

import typer

app = typer.Typer(
    name="settler",
    help="Continuous reconciliation of two streams of money.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def settler() -> None:
    """Continuous reconciliation of two streams of money."""


def main() -> None:
    """Run the command line; the exit code is 0 ok, 1 does not hold, 2 unusable input."""
    sys.exit(app())
