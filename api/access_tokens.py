"""Access tokens of users: short-lived JWTs (RFC 7519), signed with EdDSA, found by `kid`.

A token says whose it is and of which session. What it opens stands in the database, so that a
revoked session or a changed role holds within seconds, not when the token runs out.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from api.database import Database
from api.errors import ApiError
from connectors.postgres.signing_keys import make_signing_key, unseal

log = structlog.get_logger("settler.api.access_tokens")

ALGORITHM = "EdDSA"
ISSUER = "settler"
AUDIENCE = "settler-api"
_TYPE = "at+jwt"  # RFC 9068, section 2.1: nothing else that is signed with the key passes for one
_CLAIMS = ["exp", "iat", "iss", "aud", "sub", "tid", "sid", "jti"]

# Clocks of two machines differ by that much; a token lives for minutes.
LEEWAY_SECONDS = 5
# After a rotation an older key signs for this long at most: less than VERIFY_SECONDS_EXTRA of
# connectors.postgres.signing_keys, so that what it signs is verified until it runs out.
RELOAD_SECONDS = 10.0
# A made-up kid must not make every request read the table.
_RELOAD_GAP_SECONDS = 1.0
_LENGTH_MAX = 2048


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    tenant_id: str
    user_id: UUID
    session_id: UUID
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys as they were last read; `signing` is None while there is none to sign with."""

    loaded_at: float = -1e9
    public: dict[str, Ed25519PublicKey] = field(default_factory=dict)
    signing: tuple[str, Ed25519PrivateKey] | None = None


class AccessTokens:
    """Issues and verifies access tokens.

    Args:
        database: Where the keys are.
        pepper: Opens the sealed private parts.
        lifetime_seconds: Of a token.
    """

    def __init__(self, database: Database, pepper: str, lifetime_seconds: int) -> None:
        self._database = database
        self._pepper = pepper
        self.lifetime_seconds = lifetime_seconds
        self._keys = _Keys()
        self._loading = asyncio.Lock()

    async def issue(self, tenant_id: str, user_id: UUID, session_id: UUID) -> str:
        """Sign a token of a session; the first one ever makes the key."""
        keys = await self._loaded(RELOAD_SECONDS)
        if keys.signing is None:
            await self._make_first_key()
            keys = await self._loaded(0)
        assert keys.signing is not None, "the key made above is one of ours"
        kid, private_key = keys.signing
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": str(user_id), "tid": tenant_id,
            "sid": str(session_id), "iat": now, "exp": now + self.lifetime_seconds,
            "jti": secrets.token_hex(8),
        }  # fmt: skip
        return jwt.encode(claims, private_key, ALGORITHM, {"kid": kid, "typ": _TYPE})

    async def verify(self, token: str) -> Claims:
        """Read a token.

        Raises:
            ApiError: `unauthenticated`, for anything but a token of ours that holds now.
        """
        try:
            if len(token) > _LENGTH_MAX:
                raise ApiError("unauthenticated")
            header = jwt.get_unverified_header(token)
            key = await self._public_key(header.get("kid"))
            if key is None or header.get("typ") != _TYPE:
                raise ApiError("unauthenticated")
            # The algorithm is ours to say: what the header says only has to agree.
            claims = jwt.decode(
                token, key, [ALGORITHM], {"require": _CLAIMS}, audience=AUDIENCE, issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
            )  # fmt: skip
            return Claims(
                tenant_id=str(claims["tid"]),
                user_id=UUID(claims["sub"]),
                session_id=UUID(claims["sid"]),
                expires_at=int(claims["exp"]),
            )
        except jwt.ExpiredSignatureError as error:
            raise ApiError(
                "unauthenticated", "The access token has run out; refresh it."
            ) from error
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
            raise ApiError("unauthenticated") from error

    async def public_keys(self) -> list[dict[str, Any]]:
        """Give the keys that verify, as JSON Web Keys (RFC 8037, section 2)."""
        keys = await self._loaded(RELOAD_SECONDS)
        algorithm = jwt.get_algorithm_by_name(ALGORITHM)
        return [
            {**algorithm.to_jwk(key, as_dict=True), "kid": kid, "use": "sig", "alg": ALGORITHM}
            for kid, key in keys.public.items()
        ]

    async def _public_key(self, kid: object) -> Ed25519PublicKey | None:
        if not isinstance(kid, str):
            return None
        # Also when it is known: a key that has retired since is known no longer.
        keys = await self._loaded(RELOAD_SECONDS)
        if kid not in keys.public:
            keys = await self._loaded(_RELOAD_GAP_SECONDS)
        return keys.public.get(kid)

    async def _loaded(self, age_seconds_max: float) -> _Keys:
        async with self._loading:
            if time.monotonic() - self._keys.loaded_at <= age_seconds_max:
                return self._keys
            started = time.monotonic()
            async with self._database.anonymous() as session:
                rows = await session.rows("read_signing_keys", {})
            public = {
                row["kid"]: Ed25519PublicKey.from_public_bytes(bytes(row["public_key"]))
                for row in rows
            }
            self._keys = _Keys(started, public, self._newest_of_ours(rows))
            return self._keys

    def _newest_of_ours(self, rows: list[dict[str, Any]]) -> tuple[str, Ed25519PrivateKey] | None:
        for row in rows:
            if row["retires_at"] is None:
                key = unseal(row["kid"], bytes(row["sealed_private_key"]), self._pepper)
                if key is not None:
                    return row["kid"], key
                log.warning("signing key was sealed under another pepper", kid=row["kid"])
        return None

    async def _make_first_key(self) -> None:
        async with self._database.anonymous() as session:
            await session.row("lock_signing_keys", {})
            rows = await session.rows("read_signing_keys", {})
            if self._newest_of_ours(rows) is None:
                new = make_signing_key(self._pepper)
                await session.row("add_signing_key", new._asdict())
                log.info("made a signing key", kid=new.kid)
