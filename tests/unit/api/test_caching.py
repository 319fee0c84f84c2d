"""The cache's circuit: one failure, then silence for a while, by a clock that the test moves."""

import asyncio
import socket

from api.caching import AnswerCache
from api.redis_circuit import OPEN_SECONDS


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_redis_nothing_is_kept():
    async def body():
        cache = AnswerCache(None)
        await cache.put("acme", "x", "1", b"answer")
        assert await cache.get("acme", "x", "1") is None
        assert await cache.state() == "off"

    asyncio.run(body())


def test_a_failure_opens_the_circuit_and_time_closes_it():
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(5)
        port = silent.getsockname()[1]

        async def body():
            cache = AnswerCache(f"redis://127.0.0.1:{port}/0", clock)
            assert await cache.get("acme", "x", "1") is None
            silent.accept()[0].close()
            silent.settimeout(0.05)
            assert await cache.get("acme", "x", "1") is None
            await cache.put("acme", "x", "1", b"answer")
            assert not connected(silent)
            clock.now += OPEN_SECONDS
            assert await cache.get("acme", "x", "1") is None
            assert connected(silent)
            await cache.close()

        asyncio.run(body())


def connected(listener) -> bool:
    try:
        listener.accept()[0].close()
    except TimeoutError:
        return False
    return True
