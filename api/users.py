"""The people of a tenant: invited, given roles, disabled; never deleted, for the log names them."""

import uuid
from datetime import datetime
from typing import Any, Literal

from psycopg import errors as pg_errors
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api import mailing
from api.account import UserSessions, to_sessions
from api.database import Session
from api.errors import ApiError, not_found
from api.one_time_tokens import INVITATION_LIFETIME
from api.operations import Answer, Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.parameters import parse_id
from api.recovery import make_code
from api.signing_in import EmailField, read_email
from domain.access import Role, may_give

NAME_LENGTH_MAX = 128


UserStatus = Literal["active", "locked", "disabled"]


class User(BaseModel):
    """A person who may sign in."""

    user_id: uuid.UUID
    email: str
    name: str
    role: Role
    status: UserStatus
    email_verified_at: datetime | None
    created_at: datetime


class Users(Page[User]):
    """A page of users."""


class NewUser(BaseModel):
    """Whom to invite."""

    model_config = ConfigDict(extra="forbid")

    email: EmailField
    name: str = Field(min_length=1, max_length=NAME_LENGTH_MAX, pattern=r"^[^\x00-\x1f\x7f]+$")
    role: Role = "developer"


class UserChange(BaseModel):
    """What to change; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(
        None, min_length=1, max_length=NAME_LENGTH_MAX, pattern=r"^[^\x00-\x1f\x7f]+$"
    )
    role: Role | None = None
    disabled: bool | None = None


def to_user(row: dict[str, Any]) -> User:
    """Give a row of `users` its outward form."""
    locked_until = row["locked_until"]
    is_locked = locked_until is not None and locked_until > datetime.now(locked_until.tzinfo)
    status: UserStatus = "disabled" if row["disabled_at"] else "locked" if is_locked else "active"
    copied = ("user_id", "email", "name", "role", "email_verified_at", "created_at")
    return User(**{name: row[name] for name in copied}, status=status)


async def list_users(call: Call) -> Users:
    """List the tenant's users."""
    query = call.query(PageQuery)
    after = decode_cursor(query.cursor, [str])[0] if query.cursor else ""
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_users_page",
            {"tenant_id": call.tenant_id, "email": after, "limit": query.limit + 1},
        )
    page, next_cursor = cut_page(rows, query.limit, lambda row: [row["email"]])
    return Users(items=[to_user(row) for row in page], next_cursor=next_cursor)


async def read_user(call: Call) -> User:
    """Show a user."""
    async with call.services.database.tenant(call.tenant_id) as session:
        return to_user(await _find(call, session))


async def create_user(call: Call) -> Answer:
    """Invite a person, who sets the password with the code in the mail."""
    body = await call.body(NewUser)
    _may_touch(call, body.role)
    email = read_email(body.email)
    user_id = uuid.uuid4()
    call.note(str(user_id), role=body.role)
    try:
        async with call.services.database.tenant(call.tenant_id) as session:
            row = await session.row(
                "create_user",
                {"user_id": user_id, "tenant_id": call.tenant_id, "email": email,
                 "name": body.name, "role": body.role, "password_hash": None},
            )  # fmt: skip
            assert row is not None, "an insert returns its row"
            mail = await make_code(
                call, session, row, "password", INVITATION_LIFETIME, mailing.invitation
            )
    except pg_errors.UniqueViolation as error:
        raise ApiError("user_exists") from error
    if mail is not None:
        call.services.outbox.send(mail)
    return Answer(
        to_user(row), status=201, headers={"Location": f"{call.request.url.path}/{user_id}"}
    )


async def change_user(call: Call) -> User:
    """Rename a user, give another role, disable or enable."""
    body = await call.body(UserChange)
    async with call.services.database.tenant(call.tenant_id) as session:
        owners = await session.rows("lock_owners", {"tenant_id": call.tenant_id})
        before = await _find(call, session)
        _may_touch(call, before["role"], body.role)
        ends_owner = body.disabled or body.role not in {None, "owner"}
        if ends_owner and [row["user_id"] for row in owners] == [before["user_id"]]:
            raise ApiError("last_owner")
        key = {"tenant_id": call.tenant_id, "user_id": before["user_id"]}
        call.note(**body.model_dump(exclude_none=True))
        row = await session.row("update_user", {**key, **body.model_dump()})
        if body.disabled:
            await _end_sessions(session, key, "user_disabled")
    assert row is not None, "the user was found in the same transaction"
    call.services.authenticator.forget()
    return to_user(row)


async def list_user_sessions(call: Call) -> UserSessions:
    """List where a user is signed in."""
    async with call.services.database.tenant(call.tenant_id) as session:
        user = await _find(call, session)
        rows = await session.rows(
            "list_sessions", {"tenant_id": call.tenant_id, "user_id": user["user_id"]}
        )
    return to_sessions(rows, call.identity.session_id)


async def revoke_user_sessions(call: Call) -> Response:
    """End every session of a user."""
    async with call.services.database.tenant(call.tenant_id) as session:
        user = await _find(call, session)
        _may_touch(call, user["role"])
        key = {"tenant_id": call.tenant_id, "user_id": user["user_id"]}
        await _end_sessions(session, key, "revoked")
    call.services.authenticator.forget()
    return Response(status_code=204)


def _may_touch(call: Call, *roles: Role | None) -> None:
    """Hold that the caller stands high enough to make, change or give any of these roles.

    Raises:
        ApiError: `forbidden`.
    """
    for role in roles:
        if role is None:
            continue
        if role == "owner":
            call.identity.require("owners:write")
        if not may_give(call.identity.role, role):
            raise ApiError("forbidden", f"A credential of role {call.identity.role} may not do "
                           f"this to or for the role {role}.")  # fmt: skip


async def _find(call: Call, session: Session) -> dict[str, Any]:
    user_id = parse_id(call.path("user_id"), "user")
    row = await session.row("read_user", {"tenant_id": call.tenant_id, "user_id": user_id})
    if row is None:
        raise not_found("user", str(user_id))
    return row


async def _end_sessions(session: Session, key: dict[str, Any], because: str) -> None:
    of_user = {**key, "session_id": None, "except_id": None, "because": because}
    await session.row("revoke_sessions", of_user)


OPERATIONS = (
    Operation(
        method="GET",
        path="/users",
        handler=list_users,
        tag="users",
        summary="List users",
        description="By address, ascending.",
        query=PageQuery,
        answer=Users,
    ),
    Operation(
        method="POST",
        path="/users",
        handler=create_user,
        tag="users",
        summary="Invite a user",
        description="A code to set the password goes to the address and holds for seven days.",
        body=NewUser,
        answer=User,
        status=201,
        errors=("user_exists", "invalid_parameter"),
    ),
    Operation(
        method="GET",
        path="/users/{user_id}",
        handler=read_user,
        tag="users",
        summary="Show a user",
        answer=User,
        errors=("not_found",),
    ),
    Operation(
        method="PATCH",
        path="/users/{user_id}",
        handler=change_user,
        tag="users",
        summary="Change a user",
        description=(
            "A role is given up to one's own; a change holds within seconds, for the user's keys "
            "too. Disabling ends every session and key."
        ),
        body=UserChange,
        answer=User,
        errors=("not_found", "last_owner", "invalid_parameter"),
    ),
    Operation(
        method="GET",
        path="/users/{user_id}/sessions",
        handler=list_user_sessions,
        tag="users",
        summary="List where a user is signed in",
        answer=UserSessions,
        errors=("not_found",),
    ),
    Operation(
        method="DELETE",
        path="/users/{user_id}/sessions",
        handler=revoke_user_sessions,
        tag="users",
        summary="End every session of a user",
        answer=None,
        status=204,
        errors=("not_found",),
    ),
)
