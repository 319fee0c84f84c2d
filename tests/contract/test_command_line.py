"""The shape of the `settler` command: quick help, examples everywhere, honest exit codes."""

import subprocess
import sys

import pytest
import typer

from deploy.cli.main import app

SLOW = ("psycopg", "pyarrow", "confluent_kafka", "bytewax", "pydantic", "starlette", "structlog")


def commands(group, path=()) -> list[tuple[tuple[str, ...], object]]:
    found = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += commands(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


EVERY = commands(typer.main.get_command(app))


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("path", "command"), EVERY, ids=lambda value: str(value)[:40])
def test_every_command_has_help_with_an_example_of_itself(path, command):
    example = command.help.partition("Example: ")[2]
    assert f"settler {' '.join(path)}" in example


def test_help_loads_nothing_that_is_slow():
    script = f"import sys, deploy.cli.main; print([m for m in {SLOW!r} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_a_command_with_settings_loads_no_rich_but_could():
    script = (
        "import sys; from deploy.cli.console import load_settings; load_settings(); "
        "print('structlog' in sys.modules, 'rich' in sys.modules); "
        "import rich.table; print(bool(rich))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == ["True", "False", "True"]


def test_unknown_commands_and_options_exit_with_2():
    assert run("nonsense").returncode == 2
    assert run("dlq", "list", "--nonsense").returncode == 2


def test_help_and_version_exit_with_0():
    assert run("--help").returncode == 0
    version = run("--version")
    assert (version.returncode, version.stdout) == (0, "0.1.0\n")
