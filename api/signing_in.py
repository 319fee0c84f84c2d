"""People sign in: a password gives an access token for minutes and a refresh token for days.

A refresh token works once and gives the next. When a used one comes again, somebody has a copy of
it: the session ends with every token of it (RFC 9700, section 4.14.2).
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import Response

from api.auditing import AuditEntry
from api.database import Session
from api.errors import ApiError
from api.identity import ANYONE
from api.one_time_tokens import FoundToken, find_token, make_token
from api.operations import Call, Operation
from connectors.credentials import REFRESH_TOKEN
from connectors.passwords import LENGTH_MAX, needs_rehash
from connectors.postgres.users import EMAIL_LENGTH_MAX, EmailInvalid, normal_email
from domain.access import ScopeInvalid, effective_scopes, expand_scopes

log = structlog.get_logger("settler.api.signing_in")

# Five guesses a quarter of an hour are 480 a day: not enough for any password that is taken here.
ATTEMPTS_MAX = 5
LOCK = timedelta(minutes=15)
GUESSES: Mapping[str, Any] = {"attempts_max": ATTEMPTS_MAX, "lock": LOCK}
_USER_AGENT_MAX = 256


def _known_scopes(scopes: list[str]) -> list[str]:
    try:
        expand_scopes(scopes)
    except ScopeInvalid as error:
        raise ValueError(str(error)) from error
    return scopes


Scopes = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(
        max_length=64,
        description="Narrow the role, e.g. `read`, `exceptions:write`; empty: all the role may.",
        examples=[["read"]],
    ),
    AfterValidator(_known_scopes),
]
TenantField = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
EmailField = Annotated[str, Field(max_length=EMAIL_LENGTH_MAX, examples=["ada@example.com"])]
PasswordField = Annotated[SecretStr, Field(max_length=LENGTH_MAX)]


class Credentials(BaseModel):
    """Who signs in. One address may belong to several tenants, hence the tenant's id."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: TenantField
    email: EmailField
    password: PasswordField
    scopes: Scopes = []


class RefreshRequest(BaseModel):
    """The refresh token of the answer before; it works once."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: SecretStr = Field(max_length=128)


class TokenPair(BaseModel):
    """What a session goes on with."""

    access_token: str = Field(description="A JWT: send it as `Authorization: Bearer …`.")
    token_type: str = Field(examples=["Bearer"])
    expires_in: int = Field(description="Seconds the access token holds.")
    refresh_token: str = Field(description="Works once, at `/auth/refresh`.")
    session_id: uuid.UUID
    session_expires_at: datetime = Field(description="Refreshing goes on until then.")
    role: str = Field(examples=["admin"])
    scopes: list[str] = Field(description="What the session may do, spelled out.")


class JsonWebKey(BaseModel):
    """A public key that verifies access tokens (RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class JsonWebKeySet(BaseModel):
    """The keys in use, newest first."""

    keys: list[JsonWebKey]


def read_email(text: str) -> str:
    """Give an address its usual form.

    Raises:
        ApiError: `invalid_parameter`.
    """
    try:
        return normal_email(text)
    except EmailInvalid as error:
        raise ApiError("invalid_parameter", f"email: {error}") from error


def signed_in_user(call: Call) -> dict[str, Any]:
    """Name the signed-in user in a statement.

    Raises:
        ApiError: `user_required`, for a key: what a key may do does not reach its owner's account.
    """
    if call.identity.session_id is None:
        raise ApiError("user_required")
    return {"tenant_id": call.tenant_id, "user_id": call.identity.user_id}


async def tell_audit(
    session: Session, call: Call, user_id: uuid.UUID, action: str, **details: Any
) -> None:
    """Put into the audit log what happens to a user who is not signed in yet."""
    actor = f"user:{user_id}"
    entry = AuditEntry(actor, action, str(user_id), details, call.address, call.trace_id)
    await session.row("record_audit", entry.parameters(session.tenant_id))


def _place(call: Call) -> dict[str, Any]:
    agent = call.request.headers.get("user-agent", "")[:_USER_AGENT_MAX]
    return {"address": call.address, "user_agent": agent or None}


async def sign_in(call: Call) -> TokenPair:
    """Exchange a password for tokens."""
    body = await call.body(Credentials)
    services, tenant_id, email = call.services, body.tenant_id, read_email(body.email)
    async with services.database.tenant(tenant_id) as session:
        user = await session.row(
            "count_attempt",
            {"tenant_id": tenant_id, "email": email, **GUESSES},
        )
    password = body.password.get_secret_value()
    password_hash = user["password_hash"] if user else None
    fits = await services.hashing.verify(password, password_hash)
    if user is None or password_hash is None or not fits:
        await _tell_failure(call, tenant_id, user)
        raise ApiError("invalid_credentials")
    rehashed = await services.hashing.hash(password) if needs_rehash(password_hash) else None
    key = {"tenant_id": tenant_id, "user_id": user["user_id"]}
    session_id = uuid.uuid4()
    access_token = await services.tokens.issue(tenant_id, user["user_id"], session_id)
    async with services.database.tenant(tenant_id) as session:
        await session.row("unlock_user", key)
        if rehashed is not None:
            await session.row("set_password", {**key, "password_hash": rehashed})
        await session.row("forget_tokens", key)
        lifetime = timedelta(days=services.settings.session_days)
        await session.row(
            "create_session",
            {**key, **_place(call), "session_id": session_id, "scopes": body.scopes,
             "lifetime": lifetime},
        )  # fmt: skip
        pair = await _make_pair(
            call, session, {**key, "session_id": session_id}, access_token, "invalid_credentials"
        )
        await tell_audit(session, call, user["user_id"], "signed_in", session_id=str(session_id))
    return pair


async def _tell_failure(call: Call, tenant_id: str, user: dict[str, Any] | None) -> None:
    log.warning("sign-in refused", tenant_id=tenant_id, known=user is not None)
    if user is not None and user["is_locked"]:
        async with call.services.database.tenant(tenant_id) as session:
            await tell_audit(session, call, user["user_id"], "user_locked")


async def _make_pair(
    call: Call, session: Session, key: Mapping[str, Any], access_token: str, refusal: str
) -> TokenPair:
    """Make the next tokens of a session that is open.

    Args:
        key: `tenant_id`, `user_id` and `session_id`.
        access_token: Made before the transaction, as it may need a connection of its own.
        refusal: The error when session, user or tenant is not open.

    Raises:
        ApiError: `refusal`; whatever the transaction did so far is undone.
    """
    services = call.services
    access = await session.row("read_session_access", key)
    if access is None or not access["is_open"]:
        raise ApiError(refusal)
    left = access["expires_at"] - datetime.now(UTC)
    refresh_token = await make_token(
        session, key["tenant_id"], key["user_id"], "refresh",
        min(left, timedelta(days=services.settings.refresh_token_days)),
        services.settings.api_key_pepper, REFRESH_TOKEN, key["session_id"],
    )  # fmt: skip
    return TokenPair(
        access_token=access_token,
        token_type="Bearer",  # noqa: S106 - RFC 6750's name of the kind
        expires_in=services.tokens.lifetime_seconds,
        refresh_token=refresh_token,
        session_id=key["session_id"],
        session_expires_at=access["expires_at"],
        role=access["role"],
        scopes=sorted(effective_scopes(access["role"], access["scopes"])),
    )


async def refresh_session(call: Call) -> TokenPair:
    """Exchange a refresh token for the next pair."""
    body = await call.body(RefreshRequest)
    services = call.services
    found = await find_token(
        services.database,
        body.refresh_token.get_secret_value(),
        "refresh",
        services.settings.api_key_pepper,
        REFRESH_TOKEN,
    )
    if found is None or found.session_id is None:
        raise ApiError("session_ended")
    access_token = await services.tokens.issue(found.tenant_id, found.user_id, found.session_id)
    async with services.database.tenant(found.tenant_id) as session:
        if await session.row("use_token", found.key) is not None:
            await session.row("touch_session", {**found.key, **_place(call)})
            return await _make_pair(call, session, found.key, access_token, "session_ended")
        await _end_family(call, session, found)
    services.authenticator.forget()
    raise ApiError("session_ended")


async def _end_family(call: Call, session: Session, found: FoundToken) -> None:
    ended = await session.row(
        "revoke_sessions", {**found.key, "except_id": None, "because": "refresh_token_reused"}
    )
    if ended is not None:
        log.warning(
            "refresh token used twice, session ended",
            tenant_id=found.tenant_id,
            session_id=str(found.session_id),
        )
        await tell_audit(
            session, call, found.user_id, "session_revoked",
            session_id=str(found.session_id), because="refresh_token_reused",
        )  # fmt: skip


async def sign_out(call: Call) -> Response:
    """End the session that the access token belongs to."""
    key = signed_in_user(call)
    async with call.services.database.tenant(call.tenant_id) as session:
        await session.row(
            "revoke_sessions",
            {**key, "session_id": call.identity.session_id, "except_id": None,
             "because": "signed_out"},
        )  # fmt: skip
    call.services.authenticator.forget()
    return Response(status_code=204)


async def list_public_keys(call: Call) -> JsonWebKeySet:
    """Give the keys that verify access tokens."""
    keys = await call.services.tokens.public_keys()
    return JsonWebKeySet(keys=[JsonWebKey(**key) for key in keys])


OPERATIONS = (
    Operation(
        method="POST",
        path="/auth/sign-in",
        handler=sign_in,
        tag="auth",
        summary="Sign in with a password",
        description=(
            f"After {ATTEMPTS_MAX} wrong passwords a user is locked for "
            f"{LOCK.seconds // 60} minutes; setting a new password ends that. `scopes` narrow "
            "what the session may do."
        ),
        body=Credentials,
        answer=TokenPair,
        errors=("invalid_credentials", "session_ended", "invalid_parameter"),
        secured=False,
        counted=True,
    ),
    Operation(
        method="POST",
        path="/auth/refresh",
        handler=refresh_session,
        tag="auth",
        summary="Exchange a refresh token for new tokens",
        description="A refresh token works once; its second use ends the session.",
        body=RefreshRequest,
        answer=TokenPair,
        errors=("session_ended", "invalid_parameter"),
        secured=False,
        counted=True,
    ),
    Operation(
        method="POST",
        path="/auth/sign-out",
        handler=sign_out,
        tag="auth",
        summary="End this session",
        answer=None,
        status=204,
        errors=("user_required",),
        scope=ANYONE,
    ),
    Operation(
        method="GET",
        path="/auth/keys",
        handler=list_public_keys,
        tag="auth",
        summary="The keys that verify access tokens",
        description="A JSON Web Key Set (RFC 7517), for services that verify tokens themselves.",
        answer=JsonWebKeySet,
        secured=False,
    ),
)
