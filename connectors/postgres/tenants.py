"""Tenants and their API keys, of which only a keyed hash is kept (`connectors.credentials`)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg import errors as pg_errors

from connectors.credentials import API_KEY, credential_matches, make_credential, public_id_of
from connectors.postgres.errors import StoreError
from connectors.postgres.queries import load_queries
from domain.access import Role, expand_scopes

_SQL = load_queries("tenants")


class TenantExists(StoreError):
    """The tenant id is taken."""

    code = "tenants.exists"

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"tenant {tenant_id} exists already; choose another id")


class TenantUnknown(StoreError):
    """There is no such tenant."""

    code = "tenants.unknown"

    def __init__(self, tenant_id: str) -> None:
        super().__init__(
            f"there is no tenant {tenant_id}; `settler tenants` lists and creates them"
        )


class TenantIdInvalid(StoreError):
    """The tenant id has a form no record could name."""

    code = "tenants.invalid_id"

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"tenant id {tenant_id!r} is not 1 to 64 of a-z 0-9 _ -")


class KeyUnknown(StoreError):
    """There is no such key, or it has ended."""

    code = "tenants.key_unknown"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no live key {key_id}; `settler keys list` shows them")


class Tenant(msgspec.Struct, frozen=True):
    """A tenant; a suspended one's keys open nothing."""

    tenant_id: str
    name: str
    created_at: datetime
    suspended_at: datetime | None


class ApiKey(msgspec.Struct, frozen=True):
    """What is known of a key, its secret not among it.

    `scopes` narrow the role; none leave it as it is. `user_id` is whose key it is, None the
    tenant's own.
    """

    key_id: str
    tenant_id: str
    name: str
    role: Role
    scopes: list[str]
    user_id: UUID | None
    rotated_from: str | None
    requests_per_minute: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKey(NamedTuple):
    """A key at the one moment it can be shown."""

    key_id: str
    key: str


class RotatedKey(NamedTuple):
    """The key that takes over, at the one moment it can be shown, and whose it is."""

    tenant_id: str
    key_id: str
    key: str


def create_tenant(conn: Connection[Any], tenant_id: str, name: str) -> None:
    """Make a tenant.

    Raises:
        TenantExists: The id is taken.
        TenantIdInvalid: The id is not 1 to 64 of `a-z 0-9 _ -`.
    """
    try:
        conn.execute(_SQL["create_tenant"], {"tenant_id": tenant_id, "name": name})
    except pg_errors.UniqueViolation as exc:
        raise TenantExists(tenant_id) from exc
    except pg_errors.CheckViolation as exc:
        raise TenantIdInvalid(tenant_id) from exc


def list_tenants(conn: Connection[Any]) -> list[Tenant]:
    """List tenants by id."""
    return [Tenant(*row) for row in conn.execute(_SQL["list_tenants"])]


def suspend_tenant(conn: Connection[Any], tenant_id: str, *, suspended: bool = True) -> None:
    """Close the API to a tenant, or open it again; its flow goes on.

    Raises:
        TenantUnknown: There is no such tenant.
    """
    asked = {"tenant_id": tenant_id, "suspended": suspended}
    if not conn.execute(_SQL["suspend_tenant"], asked).rowcount:
        raise TenantUnknown(tenant_id)


def create_key(
    conn: Connection[Any],
    tenant_id: str,
    name: str,
    scopes: Sequence[str],
    pepper: str,
    expires_at: datetime | None = None,
    role: Role = "developer",
    requests_per_minute: int | None = None,
) -> NewKey:
    """Make an API key of a tenant. The key is returned here and can never be read again.

    Args:
        scopes: Narrow the role; none leave it as it is.
        requests_per_minute: None: the limit that every key has.

    Raises:
        TenantUnknown: There is no such tenant.
        ScopeInvalid: There is no such scope.
    """
    expand_scopes(scopes)
    new = make_credential(API_KEY, pepper)
    try:
        conn.execute(
            _SQL["create_key"],
            {
                "key_id": new.public_id,
                "tenant_id": tenant_id,
                "key_hash": new.kept_hash,
                "name": name,
                "role": role,
                "scopes": list(scopes),
                "user_id": None,
                "expires_at": expires_at,
                "requests_per_minute": requests_per_minute,
            },
        )
    except pg_errors.ForeignKeyViolation as exc:
        raise TenantUnknown(tenant_id) from exc
    return NewKey(new.public_id, new.text)


def rotate_key(conn: Connection[Any], key_id: str, pepper: str, overlap: timedelta) -> RotatedKey:
    """Make a key that may do what another may; the other ends after `overlap`.

    Raises:
        KeyUnknown: There is no such key, or it has ended.
    """
    new = make_credential(API_KEY, pepper)
    asked = {
        "tenant_id": None,
        "key_id": key_id,
        "new_key_id": new.public_id,
        "key_hash": new.kept_hash,
        "overlap": overlap,
    }
    with conn.transaction():
        made = conn.execute(_SQL["rotate_key"], asked).fetchone()
        if made is None:
            raise KeyUnknown(key_id)
        conn.execute(_SQL["end_key_after"], asked)
    return RotatedKey(made[0], new.public_id, new.text)


def list_keys(conn: Connection[Any], tenant_id: str | None = None) -> list[ApiKey]:
    """List keys of one tenant or of all, oldest first."""
    return [ApiKey(*row) for row in conn.execute(_SQL["list_keys"], {"tenant_id": tenant_id})]


def revoke_key(conn: Connection[Any], key_id: str) -> str | None:
    """End a key for good and return its tenant; None when there is none of this id."""
    row = conn.execute(_SQL["revoke_key"], {"key_id": key_id}).fetchone()
    return None if row is None else str(row[0])


def authenticate(conn: Connection[Any], key: str, pepper: str) -> ApiKey | None:
    """Find out whose key this is; None for a wrong, ended or suspended tenant's one.

    Args:
        conn: A connection of role settler_api; no tenant need be named, row-level security shows
            it the one row the key names.
        key: The whole key as it was presented.
        pepper: The server's secret, the setting `api_key_pepper`.
    """
    key_id = public_id_of(key, API_KEY)
    if key_id is None:
        return None
    with conn.transaction():
        conn.execute(_SQL["name_key"], {"key_id": key_id})
        row = conn.execute(_SQL["find_key"], {"key_id": key_id}).fetchone()
        if not credential_matches(key, pepper, row[0] if row else None) or row is None:
            return None
        found = ApiKey(*row[1:])
        conn.execute(_SQL["name_tenant"], {"tenant_id": found.tenant_id})
        asked = {"tenant_id": found.tenant_id, "user_id": found.user_id}
        access = conn.execute(_SQL["read_key_access"], asked).fetchone()
        if access is None or not access[0]:
            return None
        conn.execute(_SQL["touch_key"], {"key_id": key_id})
    return found
