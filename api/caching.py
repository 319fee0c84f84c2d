"""Answers kept in Redis for a moment; correct, and as fast as before, without it.

A key holds the tenant and the position that the read models were last known to have reached, so a
kept answer is never older than what this process had been told when the request came in. A failure
of Redis opens the circuit: for some seconds it is not asked at all.
"""

import time
from collections.abc import Callable
from typing import Literal

import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger("settler.api.cache")

#: A backstop only; a newer position makes a new key.
TTL_SECONDS = 5

# A query for a summary takes about a millisecond. A cache that answers later than some of those
# is no cache, and a connection attempt to a host that swallows packets must not hold a request.
ANSWER_SECONDS_MAX = 0.02
CIRCUIT_OPEN_SECONDS = 5.0

LOOKUPS = Counter("settler_api_cache_lookups_total", "Lookups of the answer cache.", ["result"])
CIRCUIT_OPEN = Gauge("settler_api_cache_circuit_open", "1 while Redis is not being asked.")


class AnswerCache:
    """A cache of rendered answers, per tenant.

    Args:
        url: Redis or Valkey; None keeps nothing.
        clock: Monotonic seconds, for the circuit.
    """

    def __init__(self, url: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open_until = 0.0
        self._redis: Redis | None = None
        if url:
            self._redis = Redis.from_url(
                url,
                socket_timeout=ANSWER_SECONDS_MAX,
                socket_connect_timeout=ANSWER_SECONDS_MAX,
                retry=None,
                max_connections=32,
            )

    def _key(self, tenant_id: str, name: str, position: int) -> str:
        # Neither a tenant nor a reconciliation can hold a colon.
        return f"settler:answer:1:{tenant_id}:{name}:{position}"

    def _asked(self) -> Redis | None:
        return None if self._clock() < self._open_until else self._redis

    def _failed(self, error: Exception) -> None:
        self._open_until = self._clock() + CIRCUIT_OPEN_SECONDS
        CIRCUIT_OPEN.set(1)
        log.warning(
            "cache does not answer, going on without it",
            error=f"{type(error).__name__}: {error}",
            seconds=CIRCUIT_OPEN_SECONDS,
        )

    async def get(self, tenant_id: str, name: str, position: int) -> bytes | None:
        """Give the kept answer, or None, also when Redis does not answer in time."""
        redis = self._asked()
        if redis is None:
            LOOKUPS.labels("skipped").inc()
            return None
        try:
            kept = await redis.get(self._key(tenant_id, name, position))
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            LOOKUPS.labels("failed").inc()
            return None
        CIRCUIT_OPEN.set(0)
        LOOKUPS.labels("miss" if kept is None else "hit").inc()
        return kept if isinstance(kept, bytes) else None

    async def put(self, tenant_id: str, name: str, position: int, answer: bytes) -> None:
        """Keep an answer that was read at `position` or later."""
        redis = self._asked()
        if redis is None:
            return
        try:
            await redis.set(self._key(tenant_id, name, position), answer, ex=TTL_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)

    async def state(self) -> Literal["ok", "unavailable", "off"]:
        """Say whether Redis answers; `off` when none is set."""
        if self._redis is None:
            return "off"
        try:
            await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return "unavailable"
        return "ok"

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()
