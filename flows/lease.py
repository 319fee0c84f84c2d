"""Holding a lease for as long as a process lives."""

import os
import socket
import threading
import uuid
from collections.abc import Callable

import structlog

from connectors.postgres.connections import Role, WaitInterrupted, connect, url_of
from connectors.postgres.lease import read_lease, wait_for_lease
from connectors.postgres.store import PostgresStore
from connectors.settings import Settings

log = structlog.get_logger(__name__)


class _LeaseStore(PostgresStore):
    def wait(self, name: str, holder: str, seconds: float) -> None:
        """Stand by until the lease is ours, however often the line breaks."""
        self._run(
            "wait for the lease",
            lambda conn: wait_for_lease(conn, name, holder, seconds, self._wait),
        )

    def wait_until_held(self, name: str, holder: str, seconds: float) -> None:
        """Wait until a holder has a lease, however often the line breaks."""
        log.info("lease.standby", lease=name, held_for=holder)
        while self._run("read the lease", lambda conn: read_lease(conn, name)).holder != holder:
            if self._wait(seconds / 4):
                raise WaitInterrupted(f"told to stop while waiting for the lease {name}")


class Lease:
    """One lease of one process.

    Args:
        settings: Says who we are (`lease_holder`) and how long a lease holds.
        role: The database role to ask as.
        name: The lease's name; processes that share it are each other's standby.
        stop: Set when the process is to end; waiting for the lease then gives up.
        lost: Called from a thread when another process has the lease.
    """

    def __init__(
        self,
        settings: Settings,
        role: Role,
        name: str,
        stop: threading.Event,
        lost: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._stop = stop
        self._seconds = settings.lease_seconds
        self._lost = lost
        self._holder = settings.lease_holder or (
            f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        )
        self._released = threading.Event()
        self._keeper: threading.Thread | None = None
        url = url_of(settings, role)
        self._store = _LeaseStore(lambda: connect(url, role, f"settler-lease-{name}"), stop.wait)

    def hold(self) -> None:
        """Stand by until the lease is ours, then keep it from a thread of its own."""
        self._store.wait(self._name, self._holder, self._seconds)
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._keeper.start()

    def await_holder(self) -> None:
        """Wait until the process that holds the lease for this one too has it.

        Raises:
            WaitInterrupted: Told to stop before.
        """
        self._store.wait_until_held(self._name, self._holder, self._seconds)
        self._store.close()

    def _keep(self) -> None:
        while not self._released.wait(self._seconds / 3):
            if not self._store.renew_lease(self._name, self._holder, self._seconds):
                self._lost(RuntimeError(f"the lease {self._name} is another's by now"))

    def release(self) -> None:
        """Let a standby take over at once; for good."""
        self._released.set()
        if self._keeper is not None:
            self._keeper.join()
        self._store.release_lease(self._name, self._holder)
        self._store.close()

    def give_up(self) -> None:
        """Let a standby, or a command that wants nobody running, go on after a failure.

        Tried once, for what failed may be that Postgres is away; the process is to end.
        """
        self._stop.set()
        try:
            self.release()
        except WaitInterrupted as exc:
            log.warning("lease.not_released", lease=self._name, problem=str(exc))
