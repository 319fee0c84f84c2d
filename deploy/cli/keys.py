"""`settler keys`: API keys, which are shown once."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from deploy.cli.console import Json, fail, load_settings, print_json, print_rows, say
from deploy.cli.database import operator
from domain.access import parse_role

keys = typer.Typer(no_args_is_help=True, help="API keys: create, list, rotate, revoke.")

KEY_COLUMNS = (
    "key_id", "tenant_id", "name", "role", "scopes", "created_at", "expires_at", "revoked_at",
    "last_used_at",
)  # fmt: skip

KeyId = Annotated[str, typer.Argument(help="As `settler keys list` shows it.")]


@keys.command("create")
def create_key(
    tenant_id: Annotated[str, typer.Argument(help="Whose key it is.")],
    name: Annotated[str, typer.Option(help="What uses it, for people.")] = "default",
    role: Annotated[str, typer.Option(help="owner, admin, developer or viewer.")] = "developer",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Narrows the role, e.g. read; may be given more than once."),
    ] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Default: never.")] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Default: the limit that every key has.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create an API key and print it: the only time it can be seen.

    Example: settler keys create acme --name dashboard --role viewer --expires-in-days 90
    """
    settings = load_settings()
    from connectors.postgres import tenants as store
    from connectors.postgres.audit import record_operation

    expires_at = None
    if expires_in_days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=expires_in_days)
    scopes, parsed = scope or [], parse_role(role)
    with operator(settings) as connection, connection.transaction():
        new = store.create_key(
            connection,
            tenant_id,
            name,
            scopes,
            settings.api_key_pepper,
            expires_at,
            parsed,
            requests_per_minute,
        )
        record_operation(connection, tenant_id, "key_created", new.key_id, role=role, scopes=scopes)
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


@keys.command("rotate")
def rotate_key(
    key_id: KeyId,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=720, help="How long the old key goes on working.")
    ] = 24.0,
    as_json: Json = False,
) -> None:
    """Create a key that may do the same and print it; the old one ends after the overlap.

    Example: settler keys rotate 4f1c09ab77de --overlap-hours 2
    """
    settings = load_settings()
    from connectors.postgres import tenants as store
    from connectors.postgres.audit import record_operation

    overlap = timedelta(hours=overlap_hours)
    with operator(settings) as connection, connection.transaction():
        new = store.rotate_key(connection, key_id, settings.api_key_pepper, overlap)
        record_operation(connection, new.tenant_id, "key_rotated", key_id, new_key_id=new.key_id)
    if as_json:
        print_json({"key_id": new.key_id, "key": new.key, "rotated_from": key_id})
        return
    say(f"keys: {new.key_id} takes over from {key_id}; keep what follows, it is shown once")
    print(new.key)


@keys.command("revoke")
def revoke_key(key_id: KeyId) -> None:
    """End a key for good.

    Example: settler keys revoke 4f1c09ab77de
    """
    settings = load_settings()
    from connectors.postgres import tenants as store
    from connectors.postgres.audit import record_operation

    with operator(settings) as connection, connection.transaction():
        tenant_id = store.revoke_key(connection, key_id)
        if tenant_id is None:
            raise fail(f"there is no key {key_id}; `settler keys list` shows them")
        record_operation(connection, tenant_id, "key_revoked", key_id)
    say(f"keys: {key_id} is revoked")
