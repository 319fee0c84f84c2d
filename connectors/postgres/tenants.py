"""Tenants and their API keys.

A key reads `rk_{key_id}_{secret}`. The key id is public and finds the row; of the whole key only
HMAC-SHA256 under the server's pepper is kept. The secret has 256 random bits, so nothing slower
is needed: there is nothing to guess that a slow hash would protect.
"""

import hmac
import secrets
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection
from psycopg import errors as pg_errors

from connectors.postgres.errors import StoreError
from connectors.postgres.queries import load_queries

_SQL = load_queries("tenants")
KEY_PREFIX = "rk_"
_KEY_ID_BYTES = 6
_SECRET_BYTES = 32
_KEY_LENGTH_MAX = 128


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


class Tenant(msgspec.Struct, frozen=True):
    """A tenant; a suspended one's keys open nothing."""

    tenant_id: str
    name: str
    created_at: datetime
    suspended_at: datetime | None


class ApiKey(msgspec.Struct, frozen=True):
    """What is known of a key, its secret not among it."""

    key_id: str
    tenant_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKey(NamedTuple):
    """A key at the one moment it can be shown."""

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
    scopes: list[str],
    pepper: str,
    expires_at: datetime | None = None,
) -> NewKey:
    """Make an API key of a tenant. The key is returned here and can never be read again.

    Raises:
        TenantUnknown: There is no such tenant.
    """
    key_id = secrets.token_hex(_KEY_ID_BYTES)
    key = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    try:
        conn.execute(
            _SQL["create_key"],
            {
                "key_id": key_id,
                "tenant_id": tenant_id,
                "key_hash": hash_key(key, pepper),
                "name": name,
                "scopes": scopes,
                "expires_at": expires_at,
            },
        )
    except pg_errors.ForeignKeyViolation as exc:
        raise TenantUnknown(tenant_id) from exc
    return NewKey(key_id, key)


def list_keys(conn: Connection[Any], tenant_id: str | None = None) -> list[ApiKey]:
    """List keys of one tenant or of all, oldest first."""
    return [ApiKey(*row) for row in conn.execute(_SQL["list_keys"], {"tenant_id": tenant_id})]


def revoke_key(conn: Connection[Any], key_id: str) -> bool:
    """End a key for good; False when there is none of this id."""
    return conn.execute(_SQL["revoke_key"], {"key_id": key_id}).rowcount == 1


def key_id_of(key: str) -> str | None:
    """Return the public part of a presented key; None when it has not the form of one."""
    if len(key) > _KEY_LENGTH_MAX or not key.startswith(KEY_PREFIX):
        return None
    key_id, _, secret = key.removeprefix(KEY_PREFIX).partition("_")
    return key_id if key_id.isalnum() and key_id.isascii() and secret else None


def hash_key(key: str, pepper: str) -> bytes:
    """Return what is kept of a key: HMAC-SHA256 (RFC 2104) under the pepper, 32 bytes."""
    return hmac.digest(pepper.encode(), key.encode("utf-8", "replace"), sha256)


def key_matches(key: str, pepper: str, key_hash: bytes | None) -> bool:
    """Compare a presented key with what was kept, in time that tells nothing.

    Args:
        key: The whole key as it was presented.
        pepper: The server's secret, the setting `api_key_pepper`.
        key_hash: What was kept; None when there is no such key; the same work is done all the same.
    """
    return hmac.compare_digest(hash_key(key, pepper), key_hash or bytes(32))


def authenticate(conn: Connection[Any], key: str, pepper: str) -> ApiKey | None:
    """Find out whose key this is; None for a wrong, ended or suspended tenant's one.

    Args:
        conn: A connection of role settler_api; no tenant need be named, row-level security shows
            it the one row the key names.
        key: The whole key as it was presented.
        pepper: The server's secret, the setting `api_key_pepper`.
    """
    key_id = key_id_of(key)
    if key_id is None:
        return None
    with conn.transaction():
        conn.execute(_SQL["name_key"], {"key_id": key_id})
        row = conn.execute(_SQL["find_key"], {"key_id": key_id}).fetchone()
        if not key_matches(key, pepper, row[0] if row else None) or row is None:
            return None
        found = ApiKey(*row[1:])
        conn.execute(_SQL["name_tenant"], {"tenant_id": found.tenant_id})
        active = conn.execute(_SQL["tenant_is_active"], {"tenant_id": found.tenant_id}).fetchone()
        if active is None or not active[0]:
            return None
        conn.execute(_SQL["touch_key"], {"key_id": key_id})
    return found
