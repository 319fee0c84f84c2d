"""Who calls: an API key, or the session cookie that a browser got in exchange for one."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request

from api.database import Database
from api.errors import ApiError
from connectors.postgres.tenants import key_id_of, key_matches

log = structlog.get_logger("settler.api.identity")

COOKIE = "settler_session"
SESSION_SECONDS = 12 * 3600

# How long a revoked key can go on working. A lookup takes three statements; at a thousand requests
# a second of one key that is 3 000 statements against one every five seconds.
POSITIVE_SECONDS = 5.0
_KNOWN_MAX = 10_000

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. Everything it may see follows from its tenant.

    Attributes:
        tenant_id: The one tenant the credential is bound to.
        key_id: The public part of the API key.
        key_name: What its owner called it.
    """

    tenant_id: str
    key_id: str
    key_name: str


def require_same_origin(request: Request, *, stated: bool) -> None:
    """Refuse a request that a page of another site makes a browser send.

    Args:
        request: The request, whose `Sec-Fetch-Site` or `Origin` is looked at.
        stated: Refuse also when it states neither, as no current browser would.

    Raises:
        ApiError: `cross_site_request`.
    """
    fetch_site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if fetch_site is not None:
        same = fetch_site in {"same-origin", "none"}
    elif origin is not None:
        same = urlsplit(origin).netloc == request.headers.get("host")
    else:
        same = not stated
    if not same:
        raise ApiError("cross_site_request")


class Authenticator:
    """Tells who calls.

    Args:
        database: Where keys are kept, hashed.
        pepper: Secret that goes into every hash; also signs session cookies. Empty: cookies are
            signed with a secret of this process and end with it.
        clock: Unix seconds.
    """

    def __init__(
        self, database: Database, pepper: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._known: dict[bytes, tuple[Identity, float]] = {}
        secret = pepper.encode() or secrets.token_bytes(32)
        self._signing_key = hashlib.blake2b(secret, person=b"settler-session").digest()

    async def identify(self, request: Request) -> Identity:
        """Tell who sent a request.

        Raises:
            ApiError: `unauthenticated`, or `cross_site_request` for a cookie used by another site.
        """
        authorization = request.headers.get("authorization")
        if authorization is not None:
            scheme, _, key = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise ApiError("unauthenticated")
            return await self.by_key(key.strip())
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            raise ApiError("unauthenticated")
        if request.method not in _SAFE_METHODS:
            require_same_origin(request, stated=True)
        return await self.by_session(cookie)

    async def by_key(self, key: str) -> Identity:
        """Tell whose key this is.

        Raises:
            ApiError: `unauthenticated`; the same for an unknown, a wrong and an ended key.
        """
        key_id = key_id_of(key)
        if key_id is None:
            raise ApiError("unauthenticated")
        remembered = hashlib.blake2b(key.encode(), digest_size=32).digest()
        known = self._recall(remembered)
        if known is not None:
            return known
        identity, key_hash = await self._find(key_id)
        if not key_matches(key, self._pepper, key_hash):
            raise ApiError("unauthenticated")
        return self._remember(remembered, identity)

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
        identity, _key_hash = await self._find(key_id)
        return self._remember(remembered, identity)

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

    def _remember(self, remembered: bytes, identity: Identity | None) -> Identity:
        if identity is None:
            raise ApiError("unauthenticated")
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[remembered] = (identity, self._clock() + POSITIVE_SECONDS)
        return identity

    async def _find(self, key_id: str) -> tuple[Identity | None, bytes | None]:
        async with self._database.anonymous() as session:
            await session.row("name_key", {"key_id": key_id})
            row = await session.row("find_key", {"key_id": key_id})
            if row is None:
                return None, None
            key_hash = bytes(row["key_hash"])
            tenant = {"tenant_id": row["tenant_id"]}
            await session.row("name_tenant", tenant)
            active = await session.row("tenant_is_active", tenant)
            if active is None or not next(iter(active.values())):
                log.info("refused a key of a suspended tenant", key_id=key_id)
                return None, key_hash
            await session.row("touch_key", {"key_id": key_id})
        return Identity(row["tenant_id"], row["key_id"], row["name"]), key_hash
