"""Who calls: an API key, a user's access token, or the cookie a browser got for a key."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog
from starlette.requests import Request

from api.access_tokens import AccessTokens
from api.database import Database, Session
from api.errors import ApiError
from api.once_at_a_time import OnceAtATime
from api.origins import require_same_origin
from connectors.credentials import API_KEY, credential_matches, public_id_of
from domain.access import Role, effective_scopes, weaker_role

log = structlog.get_logger("settler.api.identity")

COOKIE = "settler_session"
SESSION_SECONDS = 12 * 3600

# How long a revoked credential can go on working. A lookup takes three statements; at a thousand
# requests a second of one key that is 3 000 statements against one every five seconds.
POSITIVE_SECONDS = 5.0
_KNOWN_MAX = 10_000

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: The scope of what every credential may do: ask about itself.
ANYONE = "anyone"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. Everything it may see follows from its tenant, what it may do from its scopes.

    Attributes:
        tenant_id: The one tenant the credential is bound to.
        role: Of the user or the key; of a user's key the weaker of both.
        scopes: What the role may do, less what the credential leaves out.
        key_id: The public part of the API key; None for a user.
        key_name: What its owner called it.
        user_id: The user, also where a user's key calls; None for a key of the tenant itself.
        session_id: The user's session; None for a key.
        requests_per_minute: The key's own limit; None: the one that all have.
    """

    tenant_id: str
    role: Role
    scopes: frozenset[str]
    key_id: str | None = None
    key_name: str | None = None
    user_id: UUID | None = None
    session_id: UUID | None = None
    requests_per_minute: int | None = None

    @property
    def actor(self) -> str:
        """Who did it, as events and the audit log name them."""
        return f"key:{self.key_id}" if self.key_id else f"user:{self.user_id}"

    def may(self, scope: str) -> bool:
        """Say whether the caller may do what needs a scope."""
        return scope == ANYONE or scope in self.scopes

    def require(self, scope: str) -> None:
        """Hold that the caller may do what needs a scope.

        Raises:
            ApiError: `forbidden`.
        """
        if not self.may(scope):
            raise ApiError(
                "forbidden", f"This needs the scope {scope}, which this credential does not have."
            )


class Authenticator:
    """Tells who calls.

    Args:
        database: Where keys are kept, hashed.
        pepper: Secret that goes into every hash; also signs session cookies. Empty: cookies are
            signed with a secret of this process and end with it.
        tokens: Verifies the access tokens of users.
        clock: Unix seconds.
    """

    def __init__(
        self,
        database: Database,
        pepper: str,
        tokens: AccessTokens,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._pepper = pepper
        self._clock = clock
        self._known: dict[bytes, tuple[Identity, float]] = {}
        self._finding: OnceAtATime[bytes] = OnceAtATime()
        self._forgotten = 0
        secret = pepper.encode() or secrets.token_bytes(32)
        self._signing_key = hashlib.blake2b(secret, person=b"settler-session").digest()

    async def identify(self, request: Request) -> Identity:
        """Tell who sent a request.

        Raises:
            ApiError: `unauthenticated`, or `cross_site_request` for a cookie used by another site.
        """
        authorization = request.headers.get("authorization")
        if authorization is not None:
            scheme, _, credential = authorization.partition(" ")
            credential = credential.strip()
            if scheme.lower() != "bearer":
                raise ApiError("unauthenticated")
            if credential.startswith(API_KEY):
                return await self.by_key(credential)
            return await self.by_access_token(credential)
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            raise ApiError("unauthenticated")
        if request.method not in _SAFE_METHODS:
            require_same_origin(request, stated=True)
        return await self.by_session(cookie)

    def recall(self, authorization: bytes) -> Identity | None:
        """Tell whose credential this is if it was looked up just now; None says nothing about it.

        Args:
            authorization: The header's value as it came.
        """
        if authorization[:7].lower() != b"bearer " or not authorization.isascii():
            return None
        credential = authorization[7:].strip()
        return self._recall(hashlib.blake2b(credential, digest_size=32).digest())

    async def by_key(self, key: str) -> Identity:
        """Tell whose key this is.

        Raises:
            ApiError: `unauthenticated`; the same for an unknown, a wrong and an ended key.
        """
        key_id = public_id_of(key, API_KEY)
        if key_id is None:
            raise ApiError("unauthenticated")
        remembered = hashlib.blake2b(key.encode(), digest_size=32).digest()
        known = self._recall(remembered)
        if known is None and await self._finding.wait(remembered):
            known = self._recall(remembered)
        if known is not None:
            return known
        found: list[Identity] = []

        async def look_up() -> None:
            forgotten = self._forgotten
            identity, key_hash = await self._find(key_id)
            if not credential_matches(key, self._pepper, key_hash):
                raise ApiError("unauthenticated")
            found.append(self._remember(remembered, identity, forgotten=forgotten))

        await self._finding.run(remembered, look_up)
        return found[0]

    async def by_access_token(self, token: str) -> Identity:
        """Tell which user's token this is; it opens what session, role and tenant allow now.

        Raises:
            ApiError: `unauthenticated`.
        """
        remembered = hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=32).digest()
        known = self._recall(remembered)
        if known is not None:
            return known
        forgotten = self._forgotten
        claims = await self._tokens.verify(token)
        async with self._database.tenant(claims.tenant_id) as session:
            row = await session.row(
                "read_session_access",
                {
                    "tenant_id": claims.tenant_id,
                    "session_id": claims.session_id,
                    "user_id": claims.user_id,
                },
            )
        if row is None or not row["is_open"]:
            raise ApiError("unauthenticated", "The session has ended; sign in again.")
        identity = Identity(
            tenant_id=claims.tenant_id,
            role=row["role"],
            scopes=effective_scopes(row["role"], row["scopes"]),
            user_id=claims.user_id,
            session_id=claims.session_id,
        )
        return self._remember(remembered, identity, claims.expires_at, forgotten=forgotten)

    def forget(self) -> None:
        """Look every credential up again, now that one of them was taken back here."""
        self._known.clear()
        self._forgotten += 1

    async def by_session(self, cookie: str) -> Identity:
        """Tell whose session this is; it ends with its key.

        Raises:
            ApiError: `unauthenticated`.
        """
        signed, _, signature = cookie.rpartition(".")
        expected = self._sign(signed)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise ApiError("unauthenticated")
        key_id, _, expires_at = signed.rpartition(".")
        if int(expires_at) <= self._clock():
            raise ApiError("unauthenticated", "The session has ended; sign in again.")
        remembered = b"session:" + key_id.encode()
        known = self._recall(remembered)
        if known is not None:
            return known
        forgotten = self._forgotten
        identity, _key_hash = await self._find(key_id)
        return self._remember(remembered, identity, forgotten=forgotten)

    def make_session(self, identity: Identity) -> tuple[str, int]:
        """Make a session cookie's value for a caller, and tell when it ends, in Unix seconds."""
        expires_at = int(self._clock()) + SESSION_SECONDS
        signed = f"{identity.key_id}.{expires_at}"
        return f"{signed}.{self._sign(signed)}", expires_at

    def _sign(self, text: str) -> str:
        return hmac.new(self._signing_key, text.encode(), hashlib.sha256).hexdigest()

    def _recall(self, remembered: bytes) -> Identity | None:
        identity, until = self._known.get(remembered, (None, 0.0))
        return identity if until > self._clock() else None

    def _remember(
        self,
        remembered: bytes,
        identity: Identity | None,
        until: float = float("inf"),
        *,
        forgotten: int,
    ) -> Identity:
        if identity is None:
            raise ApiError("unauthenticated")
        if forgotten != self._forgotten:
            # Taken back while it was looked up: this request came before, the next one did not.
            return identity
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[remembered] = (identity, min(until, self._clock() + POSITIVE_SECONDS))
        return identity

    async def _find(self, key_id: str) -> tuple[Identity | None, bytes | None]:
        async with self._database.anonymous() as session:
            await session.row("name_key", {"key_id": key_id})
            row = await session.row("find_key", {"key_id": key_id})
            if row is None:
                return None, None
            key_hash = bytes(row["key_hash"])
            role = await self._open_role(session, row)
            if role is None:
                return None, key_hash
            await session.row("touch_key", {"key_id": key_id})
        identity = Identity(
            tenant_id=row["tenant_id"],
            role=role,
            scopes=effective_scopes(role, row["scopes"]),
            key_id=row["key_id"],
            key_name=row["name"],
            user_id=row["user_id"],
            requests_per_minute=row["requests_per_minute"],
        )
        return identity, key_hash

    async def _open_role(self, session: Session, key: dict[str, object]) -> Role | None:
        asked = {"tenant_id": key["tenant_id"], "user_id": key["user_id"]}
        await session.row("name_tenant", asked)
        access = await session.row("read_key_access", asked)
        if access is None or not access["is_open"]:
            log.info("refused a key of a suspended tenant or disabled user", key_id=key["key_id"])
            return None
        role: Role = key["role"]  # type: ignore[assignment]
        return role if access["user_role"] is None else weaker_role(role, access["user_role"])
