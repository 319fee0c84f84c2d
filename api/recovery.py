"""A forgotten password and an unproven address: a code goes out by mail and comes back once."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import Response

from api import mailing
from api.database import Session
from api.errors import ApiError
from api.identity import ANYONE
from api.one_time_tokens import (
    RESET_LIFETIME,
    VERIFICATION_LIFETIME,
    FoundToken,
    Purpose,
    find_token,
    make_token,
    use_token,
)
from api.operations import Answer, Call, Operation
from api.signing_in import (
    EmailField,
    PasswordField,
    TenantField,
    read_email,
    signed_in_user,
    tell_audit,
)
from connectors.mail import Mail
from connectors.passwords import PasswordRefused, check_password


class ResetRequest(BaseModel):
    """Whose password is forgotten."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: TenantField
    email: EmailField


class NewPassword(BaseModel):
    """The code from the mail, and the password to set."""

    model_config = ConfigDict(extra="forbid")

    code: SecretStr = Field(max_length=128)
    password: PasswordField


class Code(BaseModel):
    """The code from the mail."""

    model_config = ConfigDict(extra="forbid")

    code: SecretStr = Field(max_length=128)


class Accepted(BaseModel):
    """The same answer whether or not there was anything to do."""

    message: str


def accept_password(password: str, email: str) -> None:
    """Hold that a password may be set.

    Raises:
        ApiError: `password_refused`.
    """
    try:
        check_password(password, email)
    except PasswordRefused as error:
        raise ApiError("password_refused", f"{str(error).capitalize()}.") from error


async def make_code(
    call: Call,
    session: Session,
    user: Mapping[str, Any],
    purpose: Purpose,
    lifetime: timedelta,
    write: Callable[[str, str, str], Mail],
) -> Mail | None:
    """Make a code that voids the ones before, in its mail; None when one was made just now.

    Args:
        session: The transaction; the mail may go out once it is committed.
        user: A row of `users`.
        write: Makes the mail of address, name of the tenant, and code.
    """
    tenant = await session.row("read_tenant", {"tenant_id": session.tenant_id})
    asked = {"tenant_id": session.tenant_id, "user_id": user["user_id"], "purpose": purpose}
    lately = await session.row("made_lately", asked)
    if tenant is None or lately is None or lately["made"]:
        return None
    await session.row("void_tokens", asked)
    pepper = call.services.settings.api_key_pepper
    code = await make_token(session, session.tenant_id, user["user_id"], purpose, lifetime, pepper)
    return write(user["email"], tenant["name"], code)


async def request_password_reset(call: Call) -> Answer:
    """Send a code to whoever forgot the password."""
    body = await call.body(ResetRequest)
    asked = {"tenant_id": body.tenant_id, "email": read_email(body.email)}
    mail = None
    async with call.services.database.tenant(body.tenant_id) as session:
        user = await session.row("read_user_by_email", asked)
        if user is not None and user["disabled_at"] is None:
            mail = await make_code(
                call, session, user, "password", RESET_LIFETIME, mailing.password_reset
            )
        if user is not None and mail is not None:
            await tell_audit(session, call, user["user_id"], "password_code_sent")
    if mail is not None:
        call.services.outbox.send(mail)
    return Answer(Accepted(message="If there is such a user, a code is on its way."), status=202)


async def _redeem(call: Call, code: SecretStr, purpose: Purpose) -> FoundToken:
    """Find what a code from a mail stands for; it is used up by `use_token`.

    Raises:
        ApiError: `invalid_token`.
    """
    services = call.services
    pepper = services.settings.api_key_pepper
    found = await find_token(services.database, code.get_secret_value(), purpose, pepper)
    if found is None:
        raise ApiError("invalid_token")
    return found


async def set_new_password(call: Call) -> Response:
    """Set a password with a code; every session of the user ends."""
    body = await call.body(NewPassword)
    services = call.services
    password = body.password.get_secret_value()
    found = await _redeem(call, body.code, "password")
    async with services.database.tenant(found.tenant_id) as session:
        user = await session.row("read_user", found.key)
    if user is None or user["disabled_at"] is not None:
        raise ApiError("invalid_token")
    accept_password(password, user["email"])
    password_hash = await services.hashing.hash(password)
    async with services.database.tenant(found.tenant_id) as session:
        await use_token(session, found)
        await session.row("set_password", {**found.key, "password_hash": password_hash})
        # Who has the code reads the mail.
        await session.row("verify_email", found.key)
        await session.row(
            "revoke_sessions",
            {**found.key, "session_id": None, "except_id": None, "because": "password_set"},
        )
        await tell_audit(session, call, found.user_id, "password_set")
    services.authenticator.forget()
    return Response(status_code=204)


async def request_email_verification(call: Call) -> Answer:
    """Send a code to the address of who asks."""
    key = signed_in_user(call)
    mail = None
    async with call.services.database.tenant(call.tenant_id) as session:
        user = await session.row("read_user", key)
        assert user is not None, "who is signed in is a user"
        if user["email_verified_at"] is None:
            mail = await make_code(
                call, session, user, "email", VERIFICATION_LIFETIME, mailing.email_verification
            )
    if mail is not None:
        call.services.outbox.send(mail)
    return Answer(Accepted(message="A code is on its way."), status=202)


async def verify_email(call: Call) -> Response:
    """Show that an address is one's own."""
    body = await call.body(Code)
    found = await _redeem(call, body.code, "email")
    async with call.services.database.tenant(found.tenant_id) as session:
        await use_token(session, found)
        await session.row("verify_email", found.key)
        await tell_audit(session, call, found.user_id, "email_verified")
    return Response(status_code=204)


OPERATIONS = (
    Operation(
        method="POST",
        path="/auth/password-reset",
        handler=request_password_reset,
        tag="auth",
        summary="Ask for a code to set a new password",
        description="Answers the same whether or not there is such a user; one mail a minute.",
        body=ResetRequest,
        answer=Accepted,
        status=202,
        errors=("invalid_parameter",),
        secured=False,
        counted=True,
    ),
    Operation(
        method="POST",
        path="/auth/password",
        handler=set_new_password,
        tag="auth",
        summary="Set a password with a code",
        description="The code works once. Every session of the user ends, and so does a lock.",
        body=NewPassword,
        answer=None,
        status=204,
        errors=("invalid_token", "password_refused", "invalid_parameter"),
        secured=False,
        counted=True,
    ),
    Operation(
        method="POST",
        path="/auth/email-verification",
        handler=request_email_verification,
        tag="auth",
        summary="Ask for a code to verify one's address",
        description="Nothing is sent when it is verified already; one mail a minute.",
        answer=Accepted,
        status=202,
        errors=("user_required",),
        scope=ANYONE,
    ),
    Operation(
        method="POST",
        path="/auth/email",
        handler=verify_email,
        tag="auth",
        summary="Verify an address with a code",
        body=Code,
        answer=None,
        status=204,
        errors=("invalid_token", "invalid_parameter"),
        secured=False,
        counted=True,
    ),
)
