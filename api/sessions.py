"""A browser's session: the API key goes in once, a cookie that script cannot read comes out."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.requests import Request
from starlette.responses import Response

from api.identity import ANYONE, COOKIE, SESSION_SECONDS, Identity
from api.operations import Call, Operation
from api.origins import require_same_origin


class SignIn(BaseModel):
    """The key to exchange."""

    model_config = ConfigDict(extra="forbid")

    key: SecretStr = Field(max_length=512, description="An API key: `rk_<prefix>_<secret>`.")


class SessionInfo(BaseModel):
    """Who is signed in."""

    tenant_id: str
    key_name: str | None = Field(description="Null for a user.")
    expires_at: datetime | None = Field(
        description="Of the browser's session; null for any other credential."
    )


def _is_secure(request: Request) -> bool:
    # Behind a proxy that ends TLS uvicorn takes the scheme from X-Forwarded-Proto.
    return request.url.scheme == "https"


async def create_session(call: Call) -> Response:
    """Exchange an API key for a session cookie."""
    require_same_origin(call.request, stated=False)
    body = await call.body(SignIn)
    authenticator = call.services.authenticator
    identity = await authenticator.by_key(body.key.get_secret_value().strip())
    value, expires_at = authenticator.make_session(identity)
    info = SessionInfo(
        tenant_id=identity.tenant_id,
        key_name=identity.key_name,
        expires_at=datetime.fromtimestamp(expires_at, UTC),
    )
    response = Response(
        info.model_dump_json(), 201, {"Cache-Control": "no-store"}, "application/json"
    )
    response.set_cookie(
        COOKIE,
        value,
        max_age=SESSION_SECONDS,
        path="/",
        secure=_is_secure(call.request),
        httponly=True,
        samesite="strict",
    )
    return response


async def read_session(call: Call) -> SessionInfo:
    """Tell who is signed in."""
    identity: Identity = call.identity
    expires_at = None
    cookie = call.request.cookies.get(COOKIE)
    if cookie is not None and "authorization" not in call.request.headers:
        expires_at = datetime.fromtimestamp(int(cookie.split(".")[-2]), UTC)
    return SessionInfo(
        tenant_id=identity.tenant_id, key_name=identity.key_name, expires_at=expires_at
    )


async def delete_session(call: Call) -> Response:
    """Take the session cookie back."""
    require_same_origin(call.request, stated=False)
    response = Response(status_code=204)
    response.delete_cookie(
        COOKIE, path="/", secure=_is_secure(call.request), httponly=True, samesite="strict"
    )
    return response


OPERATIONS = (
    Operation(
        method="POST",
        path="/session",
        handler=create_session,
        tag="session",
        summary="Exchange an API key for a session cookie",
        description=(
            "For browsers. The cookie is HttpOnly and SameSite=Strict, ends after twelve hours and "
            "with its key. Writes that carry it must come from this origin."
        ),
        body=SignIn,
        answer=SessionInfo,
        status=201,
        errors=("unauthenticated", "cross_site_request"),
        secured=False,
        counted=True,
    ),
    Operation(
        method="GET",
        path="/session",
        handler=read_session,
        tag="session",
        summary="Tell who is signed in",
        answer=SessionInfo,
        scope=ANYONE,
    ),
    Operation(
        method="DELETE",
        path="/session",
        handler=delete_session,
        tag="session",
        summary="Sign out of the browser's session",
        answer=None,
        status=204,
        errors=("cross_site_request",),
        secured=False,
    ),
)
