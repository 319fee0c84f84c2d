"""`settler migrate`, `settler run ROLE` and `settler up`: what runs in production."""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.console import Json, fail, load_settings, print_json, say
from deploy.cli.starting import collect_as_usual
from deploy.giving_way import give_way
from deploy.large_blocks import give_back_large_blocks

if TYPE_CHECKING:
    from connectors.settings import Settings

run = typer.Typer(no_args_is_help=True, help="Run one role of Settler in this process.")


class _Child(StrEnum):
    """Who ends a process's peers with it: the supervisor of all, or each its own."""

    OF_ALL = "of-all"
    OF_ONE = "of-one"


class Step(StrEnum):
    """What of a release's migrations to apply."""

    PRE = "pre"
    POST = "post"


def migrate(
    only: Annotated[
        Step | None,
        typer.Option(help="pre: before the new release runs, the old one goes on; post: after."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the database's roles and schema up to this release; run twice it changes nothing.

    Example: settler migrate --only pre
    """
    settings = load_settings()
    from connectors.postgres import connections, migrations

    with connections.connect_as_owner(settings.database_url) as connection:
        steps: tuple[migrations.Step, ...] = ("pre", "post") if only is None else (only.value,)
        applied = migrations.migrate(connection, steps)
    if as_json:
        print_json({"applied": applied})
    elif applied:
        say(f"migrate: applied {', '.join(applied)}")
    else:
        said = "the database is" if only is None else f"the database's {only} migrations are"
        say(f"migrate: {said} up to date")


@run.command("flow")
def run_flow(
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Processes of one Bytewax cluster on this machine.")
    ] = 1,
    addresses: Annotated[
        str | None,
        typer.Option(help="host:port;host:port of all processes of a cluster, one a machine."),
    ] = None,
    index: Annotated[
        int | None, typer.Option(min=0, help="Which of the addresses is this process's, from 0.")
    ] = None,
    child: Annotated[_Child | None, typer.Option(hidden=True)] = None,
) -> None:
    """Reconcile: read both Kafka topics, match, and commit to the event store.

    A second flow on the same database waits as standby and takes over when the first ends. With
    --addresses each machine or pod runs one process of a cluster; they wait for each other.

    Example: settler run flow --processes 2
    """
    settings = load_settings("flow")
    from flows.reconcile import main

    cluster = _addresses(addresses, index, processes)
    place = index or 0
    if child is not None or (not cluster and processes == 1):
        give_back_large_blocks()
        collect_as_usual()
        raise typer.Exit(main(settings, cluster, place, by_itself=child is _Child.OF_ONE))
    from deploy.supervisor import Supervisor, flow_cluster, flow_process
    from flows.membership import cluster_name

    if cluster and addresses:
        _fix_lease_holder(settings, cluster_name(cluster))
        program = flow_process(addresses, place)
    else:
        _fix_lease_holder(settings)
        program = flow_cluster(processes)
    collect_as_usual()
    raise typer.Exit(Supervisor([program]).run_until_signalled())


def _addresses(addresses: str | None, index: int | None, processes: int) -> list[str] | None:
    """The addresses of a cluster, held against what else was said."""
    if addresses is None:
        if index is not None:
            raise fail("--index says which of --addresses is meant; give both")
        return None
    cluster = [one.strip() for one in addresses.split(";")]
    for one in cluster:
        host, _, port = one.rpartition(":")
        if not host or not port.isdecimal():
            raise fail(f"--addresses has {one!r} where host:port belongs")
    if index is None or index >= len(cluster):
        raise fail(f"--index has to name one of {len(cluster)} addresses, from 0")
    if processes > 1:
        raise fail("give --processes for one machine, or --addresses for a process each")
    return cluster


@run.command("projections")
def run_projections() -> None:
    """Keep the read models current with the event store.

    Example: settler run projections
    """
    settings = load_settings("projections")
    give_way(settings.followers_niceness)
    from projections.runner import main

    collect_as_usual()
    raise typer.Exit(main(settings))


@run.command("publish")
def run_publish() -> None:
    """Publish committed events and dead letters to Kafka.

    Example: settler run publish
    """
    settings = load_settings("publish")
    give_way(settings.followers_niceness)
    from flows.publish import main

    collect_as_usual()
    raise typer.Exit(main(settings))


@run.command("api")
def run_api() -> None:
    """Serve the HTTP API and the live page.

    Example: SETTLER_API_PORT=8080 settler run api
    """
    settings = load_settings("api")
    from api.app import main

    collect_as_usual()
    raise typer.Exit(main(settings))


def up(
    flow_processes: Annotated[
        int, typer.Option(min=1, max=64, help="Processes of the flow's Bytewax cluster.")
    ] = 1,
) -> None:
    """Run every role on this machine; what ends is started again, Ctrl-C ends all in order.

    Migrate the database first: roles wait until it is at their release.

    Example: settler migrate && settler up
    """
    from deploy.supervisor import ROLES, Supervisor, flow_cluster, role_program

    _fix_lease_holder(load_settings("supervisor"))
    programs = [role_program(role) for role in ROLES]
    if flow_processes > 1:
        programs[0] = flow_cluster(flow_processes)
    collect_as_usual()
    raise typer.Exit(Supervisor(programs).run_until_signalled())


def _fix_lease_holder(settings: "Settings", name: str | None = None) -> None:
    """Have every start of the flow under this supervisor hold the lease by one name."""
    from deploy.supervisor import lease_holder

    if settings.lease_holder is None:
        os.environ["SETTLER_LEASE_HOLDER"] = name or lease_holder()
