"""How long what is known of a key and a session holds, by a clock that the test moves."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from api.access_tokens import AccessTokens
from api.database import Database
from api.errors import ApiError
from api.identity import POSITIVE_SECONDS, SESSION_SECONDS, Authenticator
from connectors.postgres.tenants import create_key, revoke_key
from tests.integration.api.rows import PEPPER


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def authenticating(url, clock):
    database = Database(url, 2)
    await database.open()
    try:
        yield Authenticator(database, PEPPER, AccessTokens(database, PEPPER, 600), clock)
    finally:
        await database.close()


def test_a_revoked_key_works_for_some_seconds_at_most(served):
    clock = Clock()

    async def body():
        async with authenticating(served.database_url, clock) as authenticator:
            with served.connect() as connection:
                key = create_key(connection, "acme", "short", [], PEPPER)
                identity = await authenticator.by_key(key.key)
                cookie, _ = authenticator.make_session(identity)
                assert await authenticator.by_session(cookie) == identity
                revoke_key(connection, key.key_id)
            clock.now += POSITIVE_SECONDS - 0.1
            assert await authenticator.by_key(key.key) == identity
            clock.now += 0.2
            for attempt in (authenticator.by_key(key.key), authenticator.by_session(cookie)):
                with pytest.raises(ApiError, match="key"):
                    await attempt

    asyncio.run(body())


def test_a_session_ends_after_its_time(served):
    clock = Clock()

    async def body():
        async with authenticating(served.database_url, clock) as authenticator:
            identity = await authenticator.by_key(served.acme.key)
            cookie, ends = authenticator.make_session(identity)
            assert ends == clock.now + SESSION_SECONDS
            clock.now += SESSION_SECONDS - 1
            assert await authenticator.by_session(cookie) == identity
            clock.now += 1
            with pytest.raises(ApiError, match="ended"):
                await authenticator.by_session(cookie)

    asyncio.run(body())


def test_a_session_of_another_pepper_opens_nothing(served):
    async def body():
        async with authenticating(served.database_url, Clock()) as authenticator:
            other = Authenticator(
                authenticator._database, "another pepper", authenticator._tokens, Clock()
            )
            identity = await authenticator.by_key(served.acme.key)
            cookie, _ = other.make_session(identity)
            with pytest.raises(ApiError):
                await authenticator.by_session(cookie)

    asyncio.run(body())
