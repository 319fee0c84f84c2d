"""API keys: made, rotated and revoked; a developer's own, for administrators everybody's."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.database import Session
from api.errors import ApiError, not_found
from api.instants import Instant
from api.operations import PREFIX, Answer, Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.signing_in import Scopes
from connectors.credentials import API_KEY, make_credential
from domain.access import Role, effective_scopes, may_give, weaker_role

OVERLAP_SECONDS_MAX = 30 * 24 * 3600
_START = [datetime(1970, 1, 1, tzinfo=UTC).isoformat(), ""]


class ApiKey(BaseModel):
    """A key, its secret not among it."""

    key_id: str = Field(description="The public part: `rk_<key_id>_<secret>`.")
    name: str
    role: Role
    scopes: list[str] = Field(description="Narrow the role; empty: all the role may.")
    user_id: UUID | None = Field(description="Whose it is; null: the tenant's.")
    status: Literal["active", "expired", "revoked"]
    requests_per_minute: int | None = Field(description="Null: the limit that every key has.")
    rotated_from: str | None = Field(description="The key this one took over from.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class ApiKeys(Page[ApiKey]):
    """A page of keys."""


class NewApiKey(ApiKey):
    """A key at the one moment it can be seen."""

    key: str = Field(description="Keep it: it is shown once.")


class KeyRequest(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")
    role: Role | None = Field(None, description="Default: developer, or one's own if that is less.")
    scopes: Scopes = []
    expires_at: Instant | None = Field(None, description="Default: never.")
    requests_per_minute: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Default, and at most, the limit every key has."
    )


class Rotation(BaseModel):
    """How to change over."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_SECONDS_MAX)] = Field(
        3600, description="How long the old key goes on working."
    )


def _to_key(row: dict[str, Any]) -> dict[str, Any]:
    expires_at = row["expires_at"]
    is_expired = expires_at is not None and expires_at <= datetime.now(UTC)
    status = "revoked" if row["revoked_at"] else "expired" if is_expired else "active"
    shown = {name: row[name] for name in ApiKey.model_fields if name != "status"}
    return {**shown, "status": status}


def _whose(call: Call) -> UUID | None:
    """Tell whose keys the caller may reach: None for everybody's.

    Raises:
        ApiError: `forbidden`, for a key of the tenant itself that may not reach all of them.
    """
    if call.identity.may("keys:manage"):
        return None
    if call.identity.user_id is None:
        raise ApiError("forbidden", "This needs the scope keys:manage, or a user's credential.")
    return call.identity.user_id


async def list_keys(call: Call) -> ApiKeys:
    """List keys."""
    query = call.query(PageQuery)
    created_at, key_id = decode_cursor(query.cursor, [str, str]) if query.cursor else _START
    try:
        after = datetime.fromisoformat(created_at)
    except ValueError as error:
        raise ApiError("invalid_cursor") from error
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_keys_page",
            {"tenant_id": call.tenant_id, "created_at": after, "key_id": key_id,
             "user_id": _whose(call), "limit": query.limit + 1},
        )  # fmt: skip
    page, next_cursor = cut_page(
        rows, query.limit, lambda row: [row["created_at"].isoformat(), row["key_id"]]
    )
    return ApiKeys(items=[ApiKey(**_to_key(row)) for row in page], next_cursor=next_cursor)


async def read_key(call: Call) -> ApiKey:
    """Show a key."""
    async with call.services.database.tenant(call.tenant_id) as session:
        return ApiKey(**_to_key(await _find(call, session)))


async def create_key(call: Call) -> Answer:
    """Make a key that may do no more than who makes it."""
    body = await call.body(KeyRequest)
    identity = call.identity
    role = body.role or weaker_role("developer", identity.role)
    if not may_give(identity.role, role):
        raise ApiError("forbidden", f"A credential of role {identity.role} makes no {role}'s key.")
    granted = effective_scopes(role, body.scopes)
    if not granted <= identity.scopes:
        missing = ", ".join(sorted(granted - identity.scopes))
        raise ApiError("forbidden", f"A key may not do more than its maker: {missing}.")
    most = call.services.settings.rate_limit_credential
    if body.requests_per_minute is not None and body.requests_per_minute > most:
        raise ApiError("invalid_parameter", f"requests_per_minute: is more than {most}")
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise ApiError("invalid_parameter", "expires_at: is in the past")
    _whose(call)
    new = make_credential(API_KEY, call.services.settings.api_key_pepper)
    call.note(new.public_id, name=body.name, role=role, scopes=body.scopes)
    key = {"tenant_id": call.tenant_id, "key_id": new.public_id}
    async with call.services.database.tenant(call.tenant_id) as session:
        await session.row(
            "create_key",
            {**key, "key_hash": new.kept_hash, "name": body.name, "role": role,
             "scopes": body.scopes, "user_id": identity.user_id, "expires_at": body.expires_at,
             "requests_per_minute": body.requests_per_minute},
        )  # fmt: skip
        row = await session.row("read_key", key)
    assert row is not None, "it was made in the same transaction"
    return _shown_once(row, new.text)


async def rotate_key(call: Call) -> Answer:
    """Make a key that takes over from another."""
    body = await call.body(Rotation)
    new = make_credential(API_KEY, call.services.settings.api_key_pepper)
    async with call.services.database.tenant(call.tenant_id) as session:
        old = await _find(call, session)
        _may_have(call, old)
        asked = {
            "tenant_id": call.tenant_id, "key_id": old["key_id"], "new_key_id": new.public_id,
            "key_hash": new.kept_hash, "overlap": timedelta(seconds=body.overlap_seconds),
        }  # fmt: skip
        call.note(old["key_id"], new_key_id=new.public_id, overlap_seconds=body.overlap_seconds)
        await session.row("rotate_key", asked)
        row = await session.row("read_key", {**asked, "key_id": new.public_id})
        if row is None:
            raise ApiError("key_ended")
        await session.row("end_key_after", asked)
    call.services.authenticator.forget()
    return _shown_once(row, new.text)


async def revoke_key(call: Call) -> Response:
    """End a key for good."""
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await _find(call, session)
        await session.row("revoke_key", {"key_id": row["key_id"]})
    call.services.authenticator.forget()
    return Response(status_code=204)


def _shown_once(row: dict[str, Any], text: str) -> Answer:
    headers = {"Location": f"{PREFIX}/keys/{row['key_id']}"}
    return Answer(NewApiKey(**_to_key(row), key=text), status=201, headers=headers)


def _may_have(call: Call, row: dict[str, Any]) -> None:
    """Hold that a key to be handed out may do no more than who gets it.

    Raises:
        ApiError: `forbidden`.
    """
    if not effective_scopes(row["role"], row["scopes"]) <= call.identity.scopes:
        raise ApiError("forbidden", "This key may do more than you; ask somebody who may as much.")


async def _find(call: Call, session: Session) -> dict[str, Any]:
    key_id = call.path("key_id")
    whose = _whose(call)
    if not key_id.isascii() or not key_id.isalnum():
        raise not_found("key", key_id)
    row = await session.row("read_key", {"tenant_id": call.tenant_id, "key_id": key_id})
    if row is None or whose not in {None, row["user_id"]}:
        raise not_found("key", key_id)
    return row


OPERATIONS = (
    Operation(
        method="GET",
        path="/keys",
        handler=list_keys,
        tag="keys",
        summary="List API keys",
        description="Oldest first; one's own, with the scope `keys:manage` everybody's.",
        query=PageQuery,
        answer=ApiKeys,
    ),
    Operation(
        method="POST",
        path="/keys",
        handler=create_key,
        tag="keys",
        summary="Make an API key",
        description="It may do no more than who makes it, now and when that changes.",
        body=KeyRequest,
        answer=NewApiKey,
        status=201,
        errors=("invalid_parameter",),
    ),
    Operation(
        method="GET",
        path="/keys/{key_id}",
        handler=read_key,
        tag="keys",
        summary="Show an API key",
        answer=ApiKey,
        errors=("not_found",),
    ),
    Operation(
        method="POST",
        path="/keys/{key_id}/rotate",
        handler=rotate_key,
        tag="keys",
        summary="Make a key that takes over from another",
        description="The old one works on for `overlap_seconds`.",
        body=Rotation,
        answer=NewApiKey,
        status=201,
        errors=("not_found", "key_ended", "invalid_parameter"),
    ),
    Operation(
        method="DELETE",
        path="/keys/{key_id}",
        handler=revoke_key,
        tag="keys",
        summary="Revoke an API key",
        description="It works on for some seconds at most in other processes.",
        answer=None,
        status=204,
        errors=("not_found",),
    ),
)
