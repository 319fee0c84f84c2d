"""People who use the API: made and mended here by operators, by the API under row-level security.

The statements are shared: `api.database` runs the same `sql/users.sql`.
"""

import re
import uuid
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection
from psycopg import errors as pg_errors

from connectors.passwords import check_password, hash_password
from connectors.postgres.errors import StoreError
from connectors.postgres.queries import load_queries
from connectors.postgres.tenants import TenantUnknown
from domain.access import Role

_SQL = load_queries("users")

# RFC 5321, section 4.5.3.1.3: a path has 256 octets, two of them brackets.
EMAIL_LENGTH_MAX = 254
_EMAIL = re.compile(
    r"[^\s@<>\"(),:;\\\x00-\x1f\x7f]{1,64}@[^\s@<>\"(),:;\\\x00-\x1f\x7f]+\.[a-z0-9-]{2,}"
)


class EmailInvalid(StoreError):
    """The text is no e-mail address."""

    code = "users.email_invalid"

    def __init__(self, email: str) -> None:
        super().__init__(f"{email[:64]!r} is no e-mail address; it reads name@example.com")


class UserExists(StoreError):
    """The address is another user's of this tenant."""

    code = "users.exists"

    def __init__(self, tenant_id: str, email: str) -> None:
        super().__init__(f"tenant {tenant_id} has a user {email} already")


class UserUnknown(StoreError):
    """There is no such user."""

    code = "users.unknown"

    def __init__(self, tenant_id: str, email: str) -> None:
        super().__init__(
            f"tenant {tenant_id} has no user {email}; `settler users list {tenant_id}` shows them"
        )


class User(msgspec.Struct, frozen=True):
    """What is known of a user, the password not among it."""

    user_id: uuid.UUID
    tenant_id: str
    email: str
    name: str
    role: Role
    email_verified_at: datetime | None
    locked_until: datetime | None
    disabled_at: datetime | None
    created_at: datetime


def normal_email(text: str) -> str:
    """Give an address the form it is kept and compared in.

    Raises:
        EmailInvalid: It is none.
    """
    email = text.strip().lower()
    if len(email) > EMAIL_LENGTH_MAX or not _EMAIL.fullmatch(email):
        raise EmailInvalid(text)
    return email


def create_user(
    conn: Connection[Any], tenant_id: str, email: str, role: Role, name: str, password: str | None
) -> User:
    """Make a user; without a password they cannot sign in before one is set.

    Raises:
        TenantUnknown: There is no such tenant.
        UserExists: The address is taken.
        EmailInvalid: The address is none.
        PasswordRefused: The password may not be set.
    """
    email = normal_email(email)
    if password is not None:
        check_password(password, email)
    asked = {
        "user_id": uuid.uuid4(),
        "tenant_id": tenant_id,
        "email": email,
        "name": name,
        "role": role,
        "password_hash": None if password is None else hash_password(password),
    }
    try:
        row = conn.execute(_SQL["create_user"], asked).fetchone()
    except pg_errors.ForeignKeyViolation as exc:
        raise TenantUnknown(tenant_id) from exc
    except pg_errors.UniqueViolation as exc:
        raise UserExists(tenant_id, email) from exc
    assert row is not None, "an insert returns its row"
    return User(*row)


def list_users(conn: Connection[Any], tenant_id: str | None = None) -> list[User]:
    """List users of one tenant or of all, by address."""
    return [User(*row) for row in conn.execute(_SQL["list_users"], {"tenant_id": tenant_id})]


def set_password(conn: Connection[Any], tenant_id: str, email: str, password: str) -> uuid.UUID:
    """Set a password, end a lock, and end every session of the user; returns the user's id.

    Raises:
        UserUnknown: There is no such user, or it is disabled.
        PasswordRefused: The password may not be set.
    """
    asked, user_id = _named(conn, tenant_id, email)
    check_password(password, normal_email(email))
    with conn.transaction():
        changed = conn.execute(
            _SQL["set_password"], {**asked, "password_hash": hash_password(password)}
        )
        if not changed.rowcount:
            raise UserUnknown(tenant_id, email)
        _end_sessions(conn, asked, "password_set")
    return user_id


def change_user(
    conn: Connection[Any],
    tenant_id: str,
    email: str,
    *,
    role: Role | None = None,
    disabled: bool | None = None,
) -> uuid.UUID:
    """Give a user another role, disable or enable them, and end a lock; returns the user's id.

    Raises:
        UserUnknown: There is no such user.
    """
    asked, user_id = _named(conn, tenant_id, email)
    with conn.transaction():
        conn.execute(
            _SQL["update_user"], {**asked, "name": None, "role": role, "disabled": disabled}
        )
        conn.execute(_SQL["unlock_user"], asked)
        if disabled:
            _end_sessions(conn, asked, "user_disabled")
    return user_id


def _named(conn: Connection[Any], tenant_id: str, email: str) -> tuple[dict[str, Any], uuid.UUID]:
    asked = {"tenant_id": tenant_id, "email": normal_email(email)}
    row = conn.execute(_SQL["read_user_by_email"], asked).fetchone()
    if row is None:
        raise UserUnknown(tenant_id, email)
    return {"tenant_id": tenant_id, "user_id": row[0]}, row[0]


def _end_sessions(conn: Connection[Any], asked: dict[str, Any], because: str) -> None:
    of_user = {**asked, "session_id": None, "except_id": None, "because": because}
    conn.execute(_SQL["revoke_sessions"], of_user)
