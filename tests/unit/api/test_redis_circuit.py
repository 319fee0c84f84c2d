"""Redis is not needed: also at the end nobody waits for it, or fails with it."""

import asyncio

from redis.asyncio import Redis

from api.redis_circuit import RedisCircuit


def test_a_connection_that_is_slow_to_close_is_left_alone(redis_url):
    """As one is that the busiest machine does not get to within the patience for an answer."""

    async def body():
        circuit = RedisCircuit(redis_url, 5.0)
        await circuit.run(Redis.ping)
        for connection in circuit.pool._available_connections:
            connection.socket_connect_timeout = 0.0
        await circuit.close()

    asyncio.run(body())
