"""Redis for what helps but is not needed: asked briefly, after a failure not for some seconds."""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, TypeVar

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import RedisError

log = structlog.get_logger("settler.api.redis")

OPEN_SECONDS = 5.0
_FAILURES = (RedisError, OSError, TimeoutError)

T = TypeVar("T")


class RedisAway(Exception):
    """Redis does not answer, or was not asked because it just did not."""


class RedisCircuit:
    """One pool of connections and a circuit that opens when one fails.

    Args:
        url: Redis or Valkey; None: there is none, and every use says so.
        answer_seconds: A request that waits longer is better answered without.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        url: str | None,
        answer_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._open_until = 0.0
        self.pool: ConnectionPool | None = None
        self._redis: Redis | None = None
        if url is not None:
            self.pool = ConnectionPool.from_url(
                url,
                socket_timeout=answer_seconds,
                socket_connect_timeout=answer_seconds,
                retry=None,
                max_connections=64,
            )
            self._redis = Redis(connection_pool=self.pool)

    @property
    def is_asked(self) -> bool:
        """Whether a use would ask Redis now: there is one, and it has not just failed."""
        return self._redis is not None and self._clock() >= self._open_until

    async def run(self, use: Callable[[Redis], Awaitable[T]]) -> T:
        """Use Redis.

        Raises:
            RedisAway: There is none, it does not answer, or it just did not.
        """
        if self._redis is None or not self.is_asked:
            raise RedisAway
        try:
            return await use(self._redis)
        except _FAILURES as error:
            self._open_until = self._clock() + OPEN_SECONDS
            log.warning(
                "redis does not answer, going on without it",
                error=f"{type(error).__name__}: {error}",
                seconds=OPEN_SECONDS,
            )
            raise RedisAway from error

    async def state(self) -> Literal["ok", "unavailable", "off"]:
        """Say whether Redis answers, asking it also when it just did not; `off`: there is none."""
        if self._redis is None:
            return "off"
        try:
            await self._redis.ping()
        except _FAILURES:
            return "unavailable"
        return "ok"

    async def close(self) -> None:
        """Close the connections; one that is slow to close is left to the system."""
        if self.pool is not None:
            with suppress(*_FAILURES):
                await self.pool.disconnect()
