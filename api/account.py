"""Who am I: the caller's own tenant, rights, password and sessions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.errors import ApiError, not_found
from api.identity import ANYONE
from api.operations import Call, Operation
from api.parameters import parse_id
from api.recovery import accept_password
from api.signing_in import GUESSES, PasswordField, signed_in_user


class Account(BaseModel):
    """The caller and what it may do."""

    tenant_id: str
    role: str = Field(examples=["developer"])
    scopes: list[str] = Field(description="What this credential may do, spelled out.")
    key_id: str | None = Field(description="Null for a user.")
    user_id: UUID | None = Field(description="Null for a key of the tenant itself.")
    email: str | None
    name: str | None = Field(description="Of the user, or of the key.")
    email_verified_at: datetime | None


class PasswordChange(BaseModel):
    """The password in use, and the one to set."""

    model_config = ConfigDict(extra="forbid")

    current_password: PasswordField
    password: PasswordField


class UserSession(BaseModel):
    """One sign-in that has not ended."""

    session_id: UUID
    is_this: bool = Field(description="The session that asks.")
    address: str | None = Field(description="Where it was used from last.")
    user_agent: str | None
    scopes: list[str] = Field(description="As asked for at sign-in; empty: all the role may.")
    created_at: datetime
    last_used_at: datetime = Field(description="When its tokens were last refreshed.")
    expires_at: datetime


class UserSessions(BaseModel):
    """All of a user's sessions, newest first."""

    items: list[UserSession]


async def read_account(call: Call) -> Account:
    """Tell who asks."""
    identity = call.identity
    user = None
    if identity.user_id is not None:
        async with call.services.database.tenant(call.tenant_id) as session:
            user = await session.row(
                "read_user", {"tenant_id": call.tenant_id, "user_id": identity.user_id}
            )
    return Account(
        tenant_id=identity.tenant_id,
        role=identity.role,
        scopes=sorted(identity.scopes),
        key_id=identity.key_id,
        user_id=identity.user_id,
        email=user["email"] if user else None,
        name=identity.key_name if identity.key_id else (user["name"] if user else None),
        email_verified_at=user["email_verified_at"] if user else None,
    )


async def change_password(call: Call) -> Response:
    """Change one's password; every other session ends."""
    key = signed_in_user(call)
    body = await call.body(PasswordChange)
    services = call.services
    async with services.database.tenant(call.tenant_id) as session:
        user = await session.row("read_user", key)
        assert user is not None, "who is signed in is a user"
        # Whoever found an open session must not guess here either.
        counted = await session.row("count_attempt", {**key, "email": user["email"], **GUESSES})
    current = body.current_password.get_secret_value()
    kept_hash = counted["password_hash"] if counted else None
    if not await services.hashing.verify(current, kept_hash):
        raise ApiError("invalid_credentials", "The current password is wrong.")
    password = body.password.get_secret_value()
    accept_password(password, user["email"])
    password_hash = await services.hashing.hash(password)
    call.note(str(call.identity.user_id))
    async with services.database.tenant(call.tenant_id) as session:
        await session.row("set_password", {**key, "password_hash": password_hash})
        await session.row(
            "revoke_sessions",
            {**key, "session_id": None, "except_id": call.identity.session_id,
             "because": "password_set"},
        )  # fmt: skip
    services.authenticator.forget()
    return Response(status_code=204)


async def list_own_sessions(call: Call) -> UserSessions:
    """List where one is signed in."""
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows("list_sessions", signed_in_user(call))
    return to_sessions(rows, call.identity.session_id)


def to_sessions(rows: list[dict[str, Any]], own: UUID | None) -> UserSessions:
    """Give rows of sessions their outward form."""
    return UserSessions(
        items=[UserSession(**row, is_this=row["session_id"] == own) for row in rows]
    )


async def revoke_own_session(call: Call) -> Response:
    """End one of one's sessions."""
    key = signed_in_user(call)
    session_id = parse_id(call.path("session_id"), "session")
    async with call.services.database.tenant(call.tenant_id) as session:
        ended = await session.row(
            "revoke_sessions",
            {**key, "session_id": session_id, "except_id": None, "because": "revoked"},
        )
        if ended is None:
            raise not_found("session", str(session_id))
    call.services.authenticator.forget()
    return Response(status_code=204)


OPERATIONS = (
    Operation(
        method="GET",
        path="/me",
        handler=read_account,
        tag="account",
        summary="Tell who asks and what they may do",
        answer=Account,
        scope=ANYONE,
    ),
    Operation(
        method="POST",
        path="/me/password",
        handler=change_password,
        tag="account",
        summary="Change one's password",
        description="Every other session of the user ends.",
        body=PasswordChange,
        answer=None,
        status=204,
        errors=("user_required", "invalid_credentials", "password_refused", "invalid_parameter"),
        scope=ANYONE,
    ),
    Operation(
        method="GET",
        path="/me/sessions",
        handler=list_own_sessions,
        tag="account",
        summary="List where one is signed in",
        answer=UserSessions,
        errors=("user_required",),
        scope=ANYONE,
    ),
    Operation(
        method="DELETE",
        path="/me/sessions/{session_id}",
        handler=revoke_own_session,
        tag="account",
        summary="End one of one's sessions",
        answer=None,
        status=204,
        errors=("user_required", "not_found"),
        scope=ANYONE,
    ),
)
