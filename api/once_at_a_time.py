"""Work that many requests want done at the same moment: done by the first, awaited by the rest."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class OnceAtATime(Generic[Key]):
    """Keeps what is under way, by key; results are the business of who does the work."""

    def __init__(self) -> None:
        self._under_way: dict[Key, asyncio.Future[None]] = {}

    async def wait(self, key: Key) -> bool:
        """Wait for what is under way; False when nothing is, and the caller is the one to do it."""
        under_way = self._under_way.get(key)
        if under_way is None:
            return False
        await asyncio.shield(under_way)
        return True

    async def run(self, key: Key, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work; those who wait go on when it is done, has failed, or was given up."""
        done = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            await work()
        finally:
            if self._under_way.get(key) is done:
                del self._under_way[key]
            done.set_result(None)
