"""Writes that may be sent again: the same Idempotency-Key does a thing once and answers the same.

Two parts. The transaction that does the work claims the key in Postgres: whatever happens, it is
done once. Redis keeps the answer for a day, so that the second request gets the first one's; when
Redis is away or has lost it, a command is answered from the inbox and anything else by saying that
it was done. An answer may hold a new API key: it is sealed, and only the same credential gets it.
"""

import asyncio
import base64
import hashlib
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.errors import ApiError, ErrorDetail
from api.redis_circuit import RedisAway, RedisCircuit

log = structlog.get_logger("settler.api.idempotency")

HEADER = "Idempotency-Key"
FORM = r"^[\x21-\x7e]{1,128}$"
REPLAYED = "Idempotency-Replayed"

ANSWER_SECONDS = 24 * 3600
# Longer than any request takes; a process that died in the middle holds the key for so long.
PENDING_SECONDS = 60
# A second request that comes meanwhile waits for the first one's answer, this long.
WAIT_SECONDS = 2.0
_WAIT_STEP_SECONDS = 0.05
_BODY_BYTES_MAX = 64 * 1024
_NONCE_BYTES = 12
_KEPT_HEADERS = ("content-type", "location", "cache-control")


@dataclass(frozen=True, slots=True)
class Guard:
    """One request under an Idempotency-Key.

    Attributes:
        actor: The credential's; another one's key of the same name is another key.
        fingerprint: Of everything that decides what is done.
    """

    tenant_id: str
    actor: str
    key: str
    fingerprint: bytes

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The guard as parameters of the statements in `sql/idempotency.sql`."""
        return {
            "tenant_id": self.tenant_id, "actor": self.actor, "idempotency_key": self.key,
            "fingerprint": self.fingerprint,
        }  # fmt: skip

    @property
    def slot(self) -> str:
        """Where Redis keeps the answer."""
        name = hashlib.blake2b(self.key.encode(), digest_size=20).hexdigest()
        return f"settler:idempotency:1:{self.tenant_id}:{self.actor}:{name}"


#: The request that is being answered, for `Database.tenant`; None: it may be done again.
CURRENT_GUARD: ContextVar[Guard | None] = ContextVar("idempotency_guard", default=None)


async def make_guard(request: Request, tenant_id: str, actor: str) -> Guard | None:
    """Read the key of a request; None when it has none.

    Raises:
        ApiError: `invalid_parameter`, or what reading the body raises.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not re.fullmatch(FORM[1:-1], key):
        detail = ErrorDetail(path=HEADER, message="is not 1 to 128 visible ASCII characters")
        raise ApiError("invalid_parameter", f"{HEADER} {detail.message}.", [detail])
    digest = hashlib.blake2b(digest_size=32)
    for part in (request.method, request.url.path, request.url.query,
                 request.headers.get("content-type", "")):  # fmt: skip
        digest.update(f"{len(part)}:{part}".encode())
    digest.update(await request.body())
    return Guard(tenant_id, actor, key, digest.digest())


def refuse_claimed(guard: Guard, kept_fingerprint: bytes) -> ApiError:
    """Say that a key was claimed before, by the same request or by another."""
    same = kept_fingerprint == guard.fingerprint
    return ApiError("already_done" if same else "idempotency_conflict")


class IdempotentAnswers:
    """The answers of the last day.

    Args:
        circuit: Redis.
        pepper: What seals them is derived from it.
    """

    def __init__(self, circuit: RedisCircuit, pepper: str) -> None:
        self._circuit = circuit
        derivation = HKDF(SHA256(), 32, salt=None, info=b"settler idempotent answers")
        self._cipher = AESGCM(derivation.derive(pepper.encode()))

    async def once(self, guard: Guard, run: Callable[[], Awaitable[Response]]) -> Response:
        """Run a handler, or give the answer it gave before.

        Raises:
            ApiError: `idempotency_conflict` or `request_in_progress`, and whatever `run` raises.
        """
        kept = await self._begin(guard)
        if kept is not None:
            return kept
        told = CURRENT_GUARD.set(guard)
        try:
            response = await run()
        except BaseException:
            await self._abandon(guard)
            raise
        finally:
            CURRENT_GUARD.reset(told)
        await self._finish(guard, response)
        return response

    async def _begin(self, guard: Guard) -> Response | None:
        pending = b"pending:" + guard.fingerprint
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            try:
                is_first = await self._circuit.run(
                    lambda redis: redis.set(guard.slot, pending, nx=True, ex=PENDING_SECONDS)
                )
                found = None
                if not is_first:
                    found = await self._circuit.run(lambda redis: redis.get(guard.slot))
            except RedisAway:
                return None
            if is_first:
                return None
            if isinstance(found, bytes) and not found.startswith(b"pending:"):
                return self._open(guard, found)
            if isinstance(found, bytes) and found != pending:
                raise ApiError("idempotency_conflict")
            # Gone by now: the first one failed, and this one may try.
            if found is not None and asyncio.get_running_loop().time() > deadline:
                raise ApiError("request_in_progress")
            await asyncio.sleep(_WAIT_STEP_SECONDS)

    async def _finish(self, guard: Guard, response: Response) -> None:
        if isinstance(response, StreamingResponse) or len(response.body) > _BODY_BYTES_MAX:
            await self._abandon(guard)
            return
        answer = {
            "status": response.status_code,
            "headers": {
                name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers
            },
            "body": base64.b64encode(response.body).decode(),
        }
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(
            nonce, guard.fingerprint + json.dumps(answer).encode(), guard.slot.encode()
        )
        await self._told(guard, lambda redis: redis.set(guard.slot, sealed, ex=ANSWER_SECONDS))

    async def _abandon(self, guard: Guard) -> None:
        await self._told(guard, lambda redis: redis.delete(guard.slot))

    async def _told(self, guard: Guard, use: Callable[[Any], Awaitable[Any]]) -> None:
        try:
            await self._circuit.run(use)
        except RedisAway:
            log.info("answer not kept, redis is away", actor=guard.actor)

    def _open(self, guard: Guard, sealed: bytes) -> Response | None:
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            opened = self._cipher.decrypt(nonce, text, guard.slot.encode())
        except (InvalidTag, ValueError):
            # Sealed under another pepper, or tampered with: as good as lost.
            log.warning("a kept answer cannot be opened", actor=guard.actor)
            return None
        size = len(guard.fingerprint)
        if opened[:size] != guard.fingerprint:
            raise ApiError("idempotency_conflict")
        answer = json.loads(opened[size:])
        headers = {**answer["headers"], REPLAYED: "true"}
        return Response(base64.b64decode(answer["body"]), answer["status"], headers)
