"""Passwords are hashed off the event loop, a few at a time.

A hash takes 19 MiB and a core for tens of milliseconds: without a limit a burst of sign-ins would
take the machine.
"""

import anyio
from anyio.to_thread import run_sync

from connectors import passwords

AT_ONCE = 2


class PasswordHashing:
    """Hashes and verifies passwords in threads of its own."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        return await run_sync(passwords.hash_password, password, limiter=self._limiter)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Compare a password with its hash; None takes as long and is False."""
        return await run_sync(
            passwords.verify_password, password, password_hash, limiter=self._limiter
        )
