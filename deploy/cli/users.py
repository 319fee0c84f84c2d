"""`settler users` and `settler signing-keys`: who may sign in, and what signs their tokens."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.console import Json, fail, load_settings, print_json, print_rows, say
from deploy.cli.database import operator
from domain.access import Role, parse_role

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
    from uuid import UUID

    from psycopg import Connection

users = typer.Typer(
    no_args_is_help=True, help="Users: create, list, set-password, set-role, disable, enable."
)
signing_keys = typer.Typer(
    no_args_is_help=True, help="The keys that sign access tokens: list, rotate."
)

USER_COLUMNS = (
    "user_id", "tenant_id", "email", "name", "role", "email_verified_at", "locked_until",
    "disabled_at", "created_at",
)  # fmt: skip

TenantId = Annotated[str, typer.Argument(help="The user's tenant.")]
Email = Annotated[str, typer.Argument(help="The user's address.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


@users.command("create")
def create_user(
    tenant_id: TenantId,
    email: Email,
    role: Annotated[str, typer.Option(help="owner, admin, developer or viewer.")] = "developer",
    name: Annotated[str | None, typer.Option(help="For people; default the address.")] = None,
    password_stdin: PasswordStdin = False,
    as_json: Json = False,
) -> None:
    """Create a user; the password is asked for, or read from standard input.

    Example: settler users create acme ada@example.com --role owner
    """
    settings = load_settings()
    from connectors.postgres import users as store
    from connectors.postgres.audit import record_operation

    parsed, password = parse_role(role), _read_password(from_stdin=password_stdin)
    with operator(settings) as connection, connection.transaction():
        user = store.create_user(connection, tenant_id, email, parsed, name or email, password)
        record_operation(connection, tenant_id, "user_created", str(user.user_id), role=role)
    if as_json:
        print_json({"user_id": user.user_id, "email": user.email, "role": user.role})
    else:
        say(f"users: created {user.email}, {user.role} of tenant {tenant_id}")


@users.command("list")
def list_users(
    tenant_id: Annotated[str | None, typer.Argument(help="Default: of every tenant.")] = None,
    as_json: Json = False,
) -> None:
    """List users.

    Example: settler users list acme
    """
    settings = load_settings()
    import msgspec

    from connectors.postgres import users as store

    with operator(settings) as connection:
        found = store.list_users(connection, tenant_id)
    print_rows(map(msgspec.structs.asdict, found), USER_COLUMNS, as_json)


@users.command("set-password")
def set_password(tenant_id: TenantId, email: Email, password_stdin: PasswordStdin = False) -> None:
    """Set a user's password, which ends a lock and every session of the user.

    Example: settler users set-password acme ada@example.com
    """
    from connectors.postgres import users as store

    password = _read_password(from_stdin=password_stdin)
    _change(
        tenant_id, email, "password_set",
        lambda connection: store.set_password(connection, tenant_id, email, password),
    )  # fmt: skip
    say(f"users: {email} has a new password")


@users.command("set-role")
def set_role(
    tenant_id: TenantId,
    email: Email,
    role: Annotated[str, typer.Argument(help="owner, admin, developer or viewer.")],
) -> None:
    """Give a user another role.

    Example: settler users set-role acme ada@example.com admin
    """
    parsed: Role = parse_role(role)
    from connectors.postgres import users as store

    _change(
        tenant_id, email, "role_changed",
        lambda connection: store.change_user(connection, tenant_id, email, role=parsed),
        role=role,
    )  # fmt: skip
    say(f"users: {email} is {role}")


@users.command("disable")
def disable_user(tenant_id: TenantId, email: Email) -> None:
    """End a user's sessions and keys, and let them sign in no more.

    Example: settler users disable acme ada@example.com
    """
    _disable(tenant_id, email, disabled=True)
    say(f"users: {email} is disabled")


@users.command("enable")
def enable_user(tenant_id: TenantId, email: Email) -> None:
    """Let a disabled or locked user sign in again.

    Example: settler users enable acme ada@example.com
    """
    _disable(tenant_id, email, disabled=False)
    say(f"users: {email} may sign in")


@signing_keys.command("list")
def list_signing_keys(as_json: Json = False) -> None:
    """List the keys that sign or verify access tokens, never their private parts.

    Example: settler signing-keys list
    """
    settings = load_settings()
    import msgspec

    from connectors.postgres import signing_keys as store

    with operator(settings) as connection:
        found = store.list_signing_keys(connection)
    print_rows(map(msgspec.structs.asdict, found), ("kid", "created_at", "retires_at"), as_json)


@signing_keys.command("rotate")
def rotate_signing_key(as_json: Json = False) -> None:
    """Make a new key, which signs from now on; older ones verify until their tokens have run out.

    Example: settler signing-keys rotate
    """
    settings = load_settings()
    from connectors.postgres import signing_keys as store

    overlap = timedelta(seconds=settings.access_token_seconds + store.VERIFY_SECONDS_EXTRA)
    with operator(settings) as connection:
        kid = store.rotate_signing_keys(connection, settings.api_key_pepper, overlap)
    if as_json:
        print_json({"kid": kid})
    else:
        say(f"signing-keys: {kid} signs from now on")


def _disable(tenant_id: str, email: str, *, disabled: bool) -> None:
    from connectors.postgres import users as store

    _change(
        tenant_id, email, "user_disabled" if disabled else "user_enabled",
        lambda connection: store.change_user(connection, tenant_id, email, disabled=disabled),
    )  # fmt: skip


def _change(
    tenant_id: str,
    email: str,
    action: str,
    change: "Callable[[Connection[Any]], UUID]",
    **details: object,
) -> None:
    settings = load_settings()
    from connectors.postgres.audit import record_operation

    with operator(settings) as connection, connection.transaction():
        user_id = change(connection)
        record_operation(connection, tenant_id, action, str(user_id), email=email, **details)


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise fail("there is no terminal to ask for the password; use --password-stdin")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password
