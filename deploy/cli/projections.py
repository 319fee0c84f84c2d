"""`settler projections` and `settler flow`: looking after what runs."""

from typing import Annotated

import typer

from deploy.cli.console import (
    Json,
    fail,
    load_settings,
    print_record,
    print_rows,
    progress_bar,
    say,
)
from deploy.cli.database import operator

projections = typer.Typer(no_args_is_help=True, help="Read models: list, rebuild.")
flow = typer.Typer(no_args_is_help=True, help="The running flow: status, reset-offsets.")


@projections.command("list")
def list_projections(as_json: Json = False) -> None:
    """Show how far each read model has come and how many events it is behind.

    Example: settler projections list
    """
    settings = load_settings()
    from connectors.postgres.checkpoints import read_projection_checkpoint
    from connectors.postgres.reading import read_head
    from projections.catalog import READ_MODELS

    with operator(settings) as connection:
        places = [(m.name, read_projection_checkpoint(connection, m.name)) for m in READ_MODELS]
        head = read_head(connection)
    rows = [
        {"projection": name, "position": place, "lag_events": max(0, head - place)}
        for name, place in places
    ]
    print_rows(rows, ("projection", "position", "lag_events"), as_json)


@projections.command("rebuild")
def rebuild_projections(
    names: Annotated[list[str] | None, typer.Argument(help="Read models, or --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every read model.")] = False,
) -> None:
    """Build read models anew from the log beside the live ones, then switch; readers go on.

    Example: settler projections rebuild matches
    """
    settings = load_settings()
    from projections import rebuild

    if bool(names) == every:
        raise fail("name read models to rebuild, or --all")
    with progress_bar("events") as on_progress:
        rebuilt = rebuild.rebuild(settings, names or None, on_progress=on_progress)
    say(f"projections: rebuilt {', '.join(rebuilt.names)} up to position {rebuilt.position}")


@flow.command("status")
def flow_status(as_json: Json = False) -> None:
    """Show which flow holds the lease, and which stand by.

    Example: settler flow status
    """
    settings = load_settings()
    import msgspec

    from connectors.postgres.lease import read_lease

    with operator(settings) as connection:
        state = read_lease(connection, settings.lease_name)
    held = state.holder is not None and state.remaining_seconds > 0
    print_record({"running": held, **msgspec.structs.asdict(state)}, as_json)
    if not held:
        raise typer.Exit(1)


@flow.command("reset-offsets")
def reset_offsets(
    topic: Annotated[
        list[str] | None, typer.Option(help="Default: both topics of transactions.")
    ] = None,
) -> None:
    """Read topics from their start again; for topics that were replaced by new ones.

    No flow may be running. What was accepted before stays; the same records come as redeliveries.

    Example: settler flow reset-offsets --topic settler.transactions.source
    """
    settings = load_settings()
    from connectors.postgres.checkpoints import reset_offsets as reset
    from connectors.postgres.lease import read_lease

    topics = topic or [settings.topic("transactions.source"), settings.topic("transactions.target")]
    with operator(settings) as connection:
        state = read_lease(connection, settings.lease_name)
        if state.holder is not None and state.remaining_seconds > 0:
            raise fail(f"flow {state.holder} is running; stop it first", code=1)
        done = reset(connection, topics)
    say(
        f"flow: forgot the offsets of {done.partitions} partitions in {done.streams} streams; "
        f"{done.dead_letters} dead letters of the old topics were set aside"
    )
