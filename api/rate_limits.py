"""How many requests a minute: of one credential, from one address, and of guesses.

A sliding window counted in Redis, shared by every process of the API; counted in this process alone
while Redis is away. A process takes a thousandth of a limit at a time and spends that by itself, so
that a large limit costs a round trip every thousandth part of it and a small one counts exactly.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from prometheus_client import Counter

from api.once_at_a_time import OnceAtATime
from api.redis_circuit import RedisAway, RedisCircuit

WINDOW_SECONDS = 60
_SHARE = 1000
# What a process took and did not spend is lost to the others: a thousandth every so often.
_LEASE_SECONDS = 10.0
# A caller over the limit asks Redis again at most this often, however hard it knocks.
_REFUSAL_SECONDS = 0.25
_BUCKETS_MAX = 20_000

REFUSED = Counter("settler_api_rate_limited_total", "Requests over a limit.", ["limit"])


@dataclass(slots=True)
class _Lease:
    """What this process took of a limit: how much is left of it, and of the limit itself."""

    left: int
    remaining: int
    resets_at: float
    ask_again_at: float
    ends_at: float

    def is_spent(self, now: float) -> bool:
        """Say whether another share has to be asked for before more can be allowed."""
        return self.ends_at <= now or (self.left == 0 and self.ask_again_at <= now)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands after a request.

    Attributes:
        is_allowed: The request was within the limit.
        limit: Requests a minute.
        remaining: How many are left, as far as this process knows.
        reset_seconds: When there will be more.
    """

    is_allowed: bool
    limit: int
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers, in its widely used earlier form."""
        fields = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }
        return fields if self.is_allowed else {**fields, "Retry-After": str(self.reset_seconds)}


class RateLimits:
    """Counts requests against limits.

    Args:
        circuit: Redis.
        clock: Unix seconds.
    """

    def __init__(self, circuit: RedisCircuit, clock: Callable[[], float] = time.time) -> None:
        self._circuit = circuit
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._taking: OnceAtATime[str] = OnceAtATime()
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: SlidingWindowCounterRateLimiter | None = None
        if circuit.pool is not None:
            storage = RedisStorage(
                "async+redis://pool:6379",  # in form only: the pool below says where
                implementation="redispy",
                key_prefix="settler:rate",
                connection_pool=circuit.pool,  # type: ignore[arg-type]
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)

    async def spend(self, kind: str, who: str, per_minute: int) -> Standing:
        """Count one request.

        Args:
            kind: Which limit, for the metric and to keep names apart.
            who: Whose.
            per_minute: The limit.
        """
        bucket, now = f"{kind}:{who}:{per_minute}", self._clock()
        lease = self._leases.get(bucket)
        while lease is None or lease.is_spent(now):
            # Of many requests at once one asks for a share, which mostly is enough for all.
            if not await self._taking.wait(bucket):
                await self._taking.run(bucket, lambda: self._take(bucket, per_minute, now))
                lease = self._leases[bucket]
                break
            lease = self._leases.get(bucket)
        is_allowed = lease.left > 0
        if is_allowed:
            lease.left -= 1
        else:
            REFUSED.labels(kind).inc()
        return _standing(lease, per_minute, now, is_allowed=is_allowed)

    def spend_taken(self, *limits: tuple[str, str, int]) -> Standing | None:
        """Count one request against several limits, if shares that were taken before suffice.

        Args:
            limits: Kind, whose and how many a minute, each as in `spend`.

        Returns:
            How the last one stands; None: nothing was counted, `spend` has to ask for a share.
        """
        now, leases = self._clock(), []
        for kind, who, per_minute in limits:
            lease = self._leases.get(f"{kind}:{who}:{per_minute}")
            if lease is None or lease.left == 0 or lease.ends_at <= now:
                return None
            leases.append(lease)
        for lease in leases:
            lease.left -= 1
        return _standing(leases[-1], per_minute, now, is_allowed=True)

    async def replenish(self, *limits: tuple[str, str, int]) -> None:
        """Ask for another share of those limits whose last one is spent; counts no request."""
        for kind, who, per_minute in limits:
            bucket, now = f"{kind}:{who}:{per_minute}", self._clock()
            lease = self._leases.get(bucket)
            is_short = lease is None or lease.is_spent(now)
            if is_short and not await self._taking.wait(bucket):
                await self._taking.run(bucket, partial(self._take, bucket, per_minute, now))

    async def _take(self, bucket: str, per_minute: int, now: float) -> None:
        item = RateLimitItemPerMinute(per_minute)
        shared = self._shared
        if shared is None:
            lease = await _take_share(self._local, item, bucket, now)
        else:
            try:
                lease = await self._circuit.run(
                    lambda _redis: _take_share(shared, item, bucket, now)
                )
            except RedisAway:
                lease = await _take_share(self._local, item, bucket, now)
        if len(self._leases) >= _BUCKETS_MAX:
            self._leases = {name: kept for name, kept in self._leases.items() if kept.ends_at > now}
        self._leases[bucket] = lease


def _standing(lease: _Lease, per_minute: int, now: float, *, is_allowed: bool) -> Standing:
    return Standing(
        is_allowed=is_allowed,
        limit=per_minute,
        remaining=lease.remaining + lease.left,
        reset_seconds=min(WINDOW_SECONDS, max(1, math.ceil(lease.resets_at - now))),
    )


async def _take_share(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, bucket: str, now: float
) -> _Lease:
    share = max(1, item.amount // _SHARE)
    taken = share if await limiter.hit(item, bucket, cost=share) else 0
    if taken == 0 and share > 1 and await limiter.hit(item, bucket):
        taken = 1
    window = await limiter.get_window_stats(item, bucket)
    return _Lease(
        left=taken,
        remaining=window.remaining if taken else 0,
        resets_at=window.reset_time,
        ask_again_at=now if taken else now + _REFUSAL_SECONDS,
        ends_at=now + _LEASE_SECONDS,
    )
