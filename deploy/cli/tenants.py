"""`settler tenants`: whose data there is."""

from typing import Annotated

import typer

from deploy.cli.console import Json, load_settings, print_rows, say
from deploy.cli.database import operator

tenants = typer.Typer(invoke_without_command=True, help="Tenants: list, create, suspend, resume.")

TENANT_COLUMNS = ("tenant_id", "name", "created_at", "suspended_at")
TenantId = Annotated[str, typer.Argument(help="1 to 64 of a-z 0-9 _ -")]


@tenants.callback()
def show_tenants(context: typer.Context) -> None:
    """Tenants: list (the default), create, suspend, resume.

    Example: settler tenants
    """
    if context.invoked_subcommand is None:
        list_tenants()


@tenants.command("list")
def list_tenants(as_json: Json = False) -> None:
    """List the tenants.

    Example: settler tenants list --json
    """
    settings = load_settings()
    import msgspec

    from connectors.postgres import tenants as store

    with operator(settings) as connection:
        found = store.list_tenants(connection)
    print_rows(map(msgspec.structs.asdict, found), TENANT_COLUMNS, as_json)


@tenants.command("create")
def create_tenant(
    tenant_id: TenantId,
    name: Annotated[str | None, typer.Option(help="For people; default the id.")] = None,
) -> None:
    """Create a tenant; then give it a key with `settler keys create`.

    Example: settler tenants create acme --name "Acme Ltd"
    """
    settings = load_settings()
    from connectors.postgres import tenants as store
    from connectors.postgres.audit import record_operation

    with operator(settings) as connection, connection.transaction():
        store.create_tenant(connection, tenant_id, name or tenant_id)
        record_operation(connection, tenant_id, "tenant_created", tenant_id)
    say(f"tenants: created {tenant_id}")


@tenants.command("suspend")
def suspend_tenant(tenant_id: TenantId) -> None:
    """Close the API to a tenant; its records are reconciled all the same.

    Example: settler tenants suspend acme
    """
    _suspend(tenant_id, suspended=True)


@tenants.command("resume")
def resume_tenant(tenant_id: TenantId) -> None:
    """Open the API to a suspended tenant again.

    Example: settler tenants resume acme
    """
    _suspend(tenant_id, suspended=False)


def _suspend(tenant_id: str, *, suspended: bool) -> None:
    settings = load_settings()
    from connectors.postgres import tenants as store
    from connectors.postgres.audit import record_operation

    action = "tenant_suspended" if suspended else "tenant_resumed"
    with operator(settings) as connection, connection.transaction():
        store.suspend_tenant(connection, tenant_id, suspended=suspended)
        record_operation(connection, tenant_id, action, tenant_id)
    say(f"tenants: {tenant_id} is {'suspended' if suspended else 'active'}")
