"""Codes that work once, sent by mail: to set a password, or to prove an address one's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from api.database import Database, Session
from api.errors import ApiError
from connectors.credentials import (
    ONE_TIME_TOKEN,
    credential_matches,
    make_credential,
    public_id_of,
)

Purpose = Literal["refresh", "password", "email"]

RESET_LIFETIME = timedelta(hours=1)
INVITATION_LIFETIME = timedelta(days=7)
VERIFICATION_LIFETIME = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class FoundToken:
    """A presented token that was made here; whether it can still be used is not said yet."""

    token_id: str
    tenant_id: str
    user_id: UUID
    session_id: UUID | None

    @property
    def key(self) -> Mapping[str, object]:
        """Parameters of the statements that use it."""
        return {
            "tenant_id": self.tenant_id, "token_id": self.token_id, "user_id": self.user_id,
            "session_id": self.session_id,
        }  # fmt: skip


async def make_token(
    session: Session,
    tenant_id: str,
    user_id: UUID,
    purpose: Purpose,
    lifetime: timedelta,
    pepper: str,
    prefix: str = ONE_TIME_TOKEN,
    session_id: UUID | None = None,
) -> str:
    """Make a token of a user; the text is returned here and kept nowhere."""
    new = make_credential(prefix, pepper)
    await session.row(
        "create_token",
        {
            "token_id": new.public_id,
            "tenant_id": tenant_id,
            "user_id": user_id,
            "session_id": session_id,
            "purpose": purpose,
            "token_hash": new.kept_hash,
            "lifetime": lifetime,
        },
    )
    return new.text


async def find_token(
    database: Database, text: str, purpose: Purpose, pepper: str, prefix: str = ONE_TIME_TOKEN
) -> FoundToken | None:
    """Find a presented token; None when none such was ever made for this purpose."""
    token_id = public_id_of(text.strip(), prefix)
    if token_id is None:
        return None
    async with database.anonymous() as session:
        await session.row("name_token", {"token_id": token_id})
        row = await session.row("find_token", {"token_id": token_id})
    kept = bytes(row["token_hash"]) if row else None
    if not credential_matches(text.strip(), pepper, kept) or row is None:
        return None
    if row["purpose"] != purpose:
        return None
    return FoundToken(token_id, row["tenant_id"], row["user_id"], row["session_id"])


async def use_token(session: Session, found: FoundToken | None) -> FoundToken:
    """Use a token up, in the transaction of what it allows.

    Raises:
        ApiError: `invalid_token`, also for one that was used or has run out.
    """
    if found is None or await session.row("use_token", found.key) is None:
        raise ApiError("invalid_token")
    return found
