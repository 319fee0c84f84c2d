"""`settler tenants` and `settler keys`: who may use the API."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from deploy.cli.console import Json, fail, load_settings, print_json, print_rows, say
from deploy.cli.database import operator

tenants = typer.Typer(invoke_without_command=True, help="Tenants: list, create, suspend, resume.")
keys = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")

TENANT_COLUMNS = ("tenant_id", "name", "created_at", "suspended_at")
KEY_COLUMNS = (
    "key_id", "tenant_id", "name", "scopes", "created_at", "expires_at", "revoked_at",
    "last_used_at",
)  # fmt: skip

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

    with operator(settings) as connection:
        store.create_tenant(connection, tenant_id, name or tenant_id)
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


@keys.command("create")
def create_key(
    tenant_id: TenantId,
    name: Annotated[str, typer.Option(help="What uses it, for people.")] = "default",
    scope: Annotated[
        list[str] | None, typer.Option(help="What it is for; may be given more than once.")
    ] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Default: never.")] = None,
    as_json: Json = False,
) -> None:
    """Create an API key and print it: the only time it can be seen.

    Example: settler keys create acme --name dashboard --expires-in-days 90
    """
    settings = load_settings()
    from connectors.postgres import tenants as store

    expires_at = None
    if expires_in_days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=expires_in_days)
    with operator(settings) as connection:
        new = store.create_key(
            connection, tenant_id, name, scope or [], settings.api_key_pepper, expires_at
        )
    if as_json:
        print_json({"key_id": new.key_id, "key": new.key, "expires_at": expires_at})
        return
    say(f"keys: created {new.key_id} of tenant {tenant_id}; keep what follows, it is shown once")
    print(new.key)


@keys.command("list")
def list_keys(
    tenant_id: Annotated[str | None, typer.Argument(help="Default: of every tenant.")] = None,
    as_json: Json = False,
) -> None:
    """List API keys, never the secrets.

    Example: settler keys list acme
    """
    settings = load_settings()
    import msgspec

    from connectors.postgres import tenants as store

    with operator(settings) as connection:
        found = store.list_keys(connection, tenant_id)
    print_rows(map(msgspec.structs.asdict, found), KEY_COLUMNS, as_json)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="As `settler keys list` shows it.")],
) -> None:
    """End a key for good.

    Example: settler keys revoke 4f1c09ab77de
    """
    settings = load_settings()
    from connectors.postgres import tenants as store

    with operator(settings) as connection:
        found = store.revoke_key(connection, key_id)
    if not found:
        raise fail(f"there is no key {key_id}; `settler keys list` shows them")
    say(f"keys: {key_id} is revoked")


def _suspend(tenant_id: str, *, suspended: bool) -> None:
    settings = load_settings()
    from connectors.postgres import tenants as store

    with operator(settings) as connection:
        store.suspend_tenant(connection, tenant_id, suspended=suspended)
    say(f"tenants: {tenant_id} is {'suspended' if suspended else 'active'}")
