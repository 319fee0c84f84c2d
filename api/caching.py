"""Answers kept in Redis for a moment; correct, and as fast as before, without it.

A key holds the tenant and the version of its read models, see `api.feed`. A failure of Redis opens
the circuit: for some seconds it is not asked at all.
"""

import time
from collections.abc import Callable
from typing import Literal

from prometheus_client import Counter, Gauge

from api.redis_circuit import RedisAway, RedisCircuit

#: A backstop only; a newer version makes a new key.
TTL_SECONDS = 5

# A query for a summary takes about a millisecond. A cache that answers later than some of those
# is no cache, and a connection attempt to a host that swallows packets must not hold a request.
ANSWER_SECONDS_MAX = 0.02

LOOKUPS = Counter("settler_api_cache_lookups_total", "Lookups of the answer cache.", ["result"])
CIRCUIT_OPEN = Gauge("settler_api_cache_circuit_open", "1 while Redis is not being asked.")


class AnswerCache:
    """A cache of rendered answers, per tenant.

    Args:
        url: Redis or Valkey; None keeps nothing.
        clock: Monotonic seconds, for the circuit.
    """

    def __init__(self, url: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._circuit = RedisCircuit(url, ANSWER_SECONDS_MAX, clock)

    def _key(self, tenant_id: str, name: str, version: str) -> str:
        # Neither a tenant nor a version can hold a colon, so no name reaches into another's.
        return f"settler:answer:2:{tenant_id}:{name}:{version}"

    async def get(self, tenant_id: str, name: str, version: str) -> bytes | None:
        """Give the kept answer, or None, also when Redis does not answer in time."""
        if not self._circuit.is_asked:
            LOOKUPS.labels("skipped").inc()
            return None
        key = self._key(tenant_id, name, version)
        try:
            kept = await self._circuit.run(lambda redis: redis.get(key))
        except RedisAway:
            CIRCUIT_OPEN.set(1)
            LOOKUPS.labels("failed").inc()
            return None
        CIRCUIT_OPEN.set(0)
        LOOKUPS.labels("miss" if kept is None else "hit").inc()
        return kept if isinstance(kept, bytes) else None

    async def put(self, tenant_id: str, name: str, version: str, answer: bytes) -> None:
        """Keep an answer that was read at `version` or later."""
        if not self._circuit.is_asked:
            return
        key = self._key(tenant_id, name, version)
        try:
            await self._circuit.run(lambda redis: redis.set(key, answer, ex=TTL_SECONDS))
        except RedisAway:
            CIRCUIT_OPEN.set(1)

    async def state(self) -> Literal["ok", "unavailable", "off"]:
        """Say whether Redis answers; `off` when none is set."""
        return await self._circuit.state()

    async def close(self) -> None:
        """Close the connections."""
        await self._circuit.close()
