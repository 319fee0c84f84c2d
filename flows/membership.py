"""Processes of a cluster that run each by itself, such as one a pod, and how they keep together.

Bytewax connects its processes once, when they start: one that is started again finds nobody who
listens, and the others stall. On one machine the supervisor ends all when one has ended. Where each
has a supervisor of its own they need to know of one another, and Postgres is what they share. Each
start of a process takes its place, a lease, under a name of its own; once every place is taken
process 0 writes down who they are, and only then does anybody connect. Whoever sees another name
at a place, or nobody, ends, is started again, and joins anew.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence

import structlog
import xxhash
from psycopg import Connection

from connectors.postgres.connections import WaitInterrupted, connect, url_of
from connectors.postgres.lease import LeaseState, acquire, read_lease, release
from connectors.postgres.store import PostgresStore
from connectors.settings import Settings

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.5
_LEAVING = "leaving"
_LOG_EVERY_SECONDS = 30.0
#: How long the dataflow may take to end once a peer has been told to stop.
DRAIN_SECONDS = 20.0


class PeerLost(RuntimeError):
    """A process of the cluster is gone or was started again; this one has to start anew as well."""


def cluster_name(addresses: Sequence[str]) -> str:
    """Name a cluster by its addresses, where no setting does: the same in all its processes."""
    return f"cluster-{xxhash.xxh3_64_hexdigest(' '.join(addresses).encode())}"


class _PlaceStore(PostgresStore):
    def take(self, name: str, holder: str, seconds: float) -> None:
        """Take a lease from whoever has it: what held our place before is gone."""

        def taken(conn: Connection[object]) -> bool:
            with conn.transaction():
                before = read_lease(conn, name).holder
                if before is not None:
                    release(conn, name, before)
                return acquire(conn, name, holder, seconds)

        while not self._run("take a place in the cluster", taken):
            continue

    def read(self, names: Sequence[str]) -> list[LeaseState]:
        """Who has these leases."""
        return self._run(
            "read the places of the cluster", lambda conn: [read_lease(conn, one) for one in names]
        )


class Membership:
    """One process's place in a cluster.

    Args:
        addresses: Of every process, in order; who was given others is of another cluster.
        index: This one's place.
        stop: Set to end; a peer that ends in order sets it, too.
        lost: Called from a thread with a `PeerLost`.
    """

    def __init__(
        self,
        settings: Settings,
        addresses: Sequence[str],
        index: int,
        stop: threading.Event,
        lost: Callable[[BaseException], None],
    ) -> None:
        base = f"{settings.lease_name}/{settings.lease_holder or cluster_name(addresses)}"
        self._cluster = f"{base}/members"
        self._places = [f"{base}/{place}" for place in range(len(addresses))]
        self._index = index
        self._me = f"{uuid.uuid4().hex[:12]}@{cluster_name(addresses)}"
        self._suffix = self._me.partition("@")[2]
        self._seconds = settings.lease_seconds
        self._stop = stop
        self._lost = lost
        self._members: list[str] = []
        self._gone_since: dict[int, float] = {}
        url = url_of(settings, "flow")
        self._store = _PlaceStore(lambda: connect(url, "flow", "settler-flow-members"), stop.wait)

    def join(self) -> None:
        """Take our place and wait for all the others; then watch them from a thread.

        Raises:
            WaitInterrupted: Told to stop while waiting.
        """
        self._store.take(self._places[self._index], self._me, self._seconds)
        next_log = 0.0
        while not self._formed():
            if time.monotonic() >= next_log:
                log.info("cluster.waiting", index=self._index, processes=len(self._places))
                next_log = time.monotonic() + _LOG_EVERY_SECONDS
            if self._stop.wait(min(_LOOK_SECONDS, self._seconds / 4)):
                self._leave()
                raise WaitInterrupted("told to stop while waiting for the rest of the cluster")
            self._renew()
        log.info("cluster.formed", index=self._index, members=self._members)
        threading.Thread(target=self._watch, name="members", daemon=True).start()

    def _formed(self) -> bool:
        """Whether the cluster is written down with us in it; process 0 writes it."""
        if self._index:
            (found,) = self._store.read([self._cluster])
            members = (found.holder or "").split(",")
            if found.remaining_seconds <= 0 or len(members) != len(self._places):
                return False
            if members[self._index] != self._me:
                return False
            self._members = members
            return True
        found_all = self._store.read(self._places)
        members = [one.holder or "" for one in found_all]
        if any(one.remaining_seconds <= 0 for one in found_all):
            return False
        if any(one.partition("@")[2] != self._suffix for one in members):
            return False  # of other addresses: it is on its way out
        self._members = members
        self._store.take(self._cluster, ",".join(members), self._seconds)
        return True

    def _renew(self) -> None:
        if not self._store.renew_lease(self._places[self._index], self._me, self._seconds):
            raise PeerLost(f"another process has place {self._index} of the cluster")

    def _watch(self) -> None:
        pause = min(_LOOK_SECONDS, self._seconds / 4)
        try:
            while not self._stop.wait(pause):
                self._renew()
                if self._index == 0:
                    self._store.renew_lease(self._cluster, ",".join(self._members), self._seconds)
                self._look()
            self._leave()
        except WaitInterrupted:
            log.info("cluster.stopping", index=self._index, problem="the database is away")
        except BaseException as exc:  # noqa: BLE001 - told to whoever ends the process
            # Free for the next start of this process, so that the others wait for that.
            self._store.release_lease(self._places[self._index], self._me)
            self._lost(exc)
        # Every process of the cluster has to drain for this one to end.
        time.sleep(DRAIN_SECONDS)
        self._lost(PeerLost(f"the cluster did not end within {DRAIN_SECONDS:.0f} s"))

    def _look(self) -> None:
        """Hold every place against who was there when the cluster was formed."""
        for place, found in enumerate(self._store.read(self._places)):
            if found.holder == _LEAVING:
                log.info("cluster.peer_stops", index=self._index, peer=place)
                self._stop.set()
                return
            if found.holder != self._members[place]:
                raise PeerLost(f"process {place} of the cluster was started again")
            if found.remaining_seconds > 0:
                self._gone_since.pop(place, None)
                continue
            # After an outage of the database everybody's lease has run out for a moment.
            since = self._gone_since.setdefault(place, time.monotonic())
            if time.monotonic() - since > self._seconds:
                raise PeerLost(f"process {place} of the cluster is gone")

    def _leave(self) -> None:
        """Let the others know that we end in order: the dataflow ends once all of them do."""
        if self._store.renew_lease(self._places[self._index], self._me, self._seconds):
            self._store.take(self._places[self._index], _LEAVING, self._seconds)
