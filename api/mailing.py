"""Mails leave after the answer: how long one takes must not tell whether there was one to send."""

import asyncio

import structlog
from anyio.to_thread import run_sync

from connectors.mail import Mail, Mailer

log = structlog.get_logger("settler.api.mailing")

# A server that does not answer is given up on sooner than the process is killed.
DRAIN_SECONDS = 5.0


class Outbox:
    """Sends mails in the background. One that cannot be sent is logged; the person asks again."""

    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, mail: Mail) -> None:
        """Send a mail soon."""
        task = asyncio.create_task(self._send(mail), name="mail")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def drain(self) -> None:
        """Wait for what is under way, some seconds at most."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=DRAIN_SECONDS)

    async def _send(self, mail: Mail) -> None:
        try:
            await run_sync(self._mailer.send, mail)
        except OSError as error:
            # Without the traceback: what can be done stands in the server's answer.
            log.error("mail could not be sent", subject=mail.subject, error=str(error))


def invitation(to: str, tenant_name: str, code: str) -> Mail:
    """Write to a new user, who sets the password with the code."""
    return Mail(
        to,
        f"Your access to {tenant_name} at Settler",
        f"You were given access to {tenant_name} at Settler.\n\n"
        f"Set your password with this code, which holds for seven days:\n\n{code}\n",
    )


def password_reset(to: str, tenant_name: str, code: str) -> Mail:
    """Write to a user who forgot the password."""
    return Mail(
        to,
        "A new password at Settler",
        f"Somebody, probably you, asked for a new password at {tenant_name}.\n\n"
        f"Set it with this code, which holds for one hour:\n\n{code}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n",
    )


def email_verification(to: str, tenant_name: str, code: str) -> Mail:
    """Write to a user whose address is to be shown to be theirs."""
    return Mail(
        to,
        "Is this your address?",
        f"Confirm that this is your address at {tenant_name} with this code, which holds for one "
        f"day:\n\n{code}\n",
    )
