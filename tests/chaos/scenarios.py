"""One scenario for each guard of exactly-once, that goes wrong as soon as the guard is gone.

Real parts throughout: the store on Postgres, the writer with its thread, windows, leases, progress.
Broker, clock and crashes are simulated, so that each plays the same way every time.
"""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from psycopg import Connection

from connectors.kafka_memory import MemoryBroker, MemoryPart
from connectors.postgres import store_writer
from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.connections import connect
from connectors.postgres.errors import Fenced
from connectors.postgres.inbox import Command
from connectors.postgres.store import PostgresStore
from connectors.postgres.store_memory import MemoryStore
from connectors.postgres.writing import prepare_flush
from connectors.settings import Settings
from domain.event_batches import decode_events
from domain.events import RecordMatched, RecordUnmatched, TransactionsAccepted
from flows.arrivals import key_by_tenant_reconciliation
from flows.clock import DatabaseClock
from flows.lease import Lease
from flows.progress import Progress
from flows.storing import Writer
from flows.surroundings import Surroundings
from flows.windows import MatchWindow, TickItem
from tests.integration.postgres.commits import commit_of

STREAM = ("acme/shop", "acme", "shop")
TOPICS = ("in.source", "in.target")
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
NOON_US = 1_767_614_400 * SECOND_US  # 2026-01-05T12:00:00Z
HOLD_SECONDS = 5.0
WAIT_SECONDS = 20.0


class GuardMissing(AssertionError):
    """What a guard is there to prevent has happened."""


class Died(Exception):
    """The process died here."""


# -- the store, on Postgres --


def a_zombie_stores_nothing(url: str) -> None:
    """Who was taken over is stopped at its next write, though no version has moved yet."""
    zombie, successor = _store(url), _store(url)
    held = zombie.claim(*STREAM, create=True)
    successor.claim(*STREAM, create=True)
    try:
        zombie.write([commit_of(0, 2, held.fence)], [])
    except Fenced:
        return
    finally:
        zombie.close()
        successor.close()
    raise GuardMissing("a zombie wrote to a stream that was taken over")


def another_s_commit_is_not_taken_for_its_own(url: str) -> None:
    """The answer to a commit is lost, and a successor stores as many events meanwhile."""
    zombie, successor = _store(url), _store(url)
    held = zombie.claim(*STREAM, create=True)
    taken = successor.claim(*STREAM, create=True)
    successor.write([commit_of(0, 2, taken.fence)], [])
    lost = commit_of(0, 2, held.fence)
    try:
        with connect(url, "flow") as conn:
            outcome = store_writer.steps_outcome(conn, prepare_flush([lost], []).steps)
    finally:
        zombie.close()
        successor.close()
    if outcome != "fenced":
        raise GuardMissing(f"another's commit was taken for its own: {outcome}")


def a_commit_that_does_not_follow_on_is_refused(url: str) -> None:
    """A commit is lost on its way to the store; the next one must not leave a hole behind it."""
    store = _store(url)
    held = store.claim(*STREAM, create=True)
    store.write([commit_of(0, 2, held.fence)], [])
    try:
        store.write([commit_of(5, 1, held.fence)], [])
    except Fenced:
        return
    finally:
        store.close()
    with connect(url, "operator") as conn:
        raise GuardMissing(f"a hole in the stream's versions: {_versions(conn)}")


def _store(url: str) -> PostgresStore:
    return PostgresStore(lambda: connect(url, "flow"))


def _versions(conn: Connection) -> list[tuple[int, int]]:
    query = "SELECT base_version, event_count FROM event_store ORDER BY base_version"
    return conn.execute(query).fetchall()


# -- leases, on Postgres --


def one_flow_at_a_time(settings: Settings) -> None:
    """A second flow stands by for as long as the first one lives, and goes on when it ends."""
    stop, holds = threading.Event(), threading.Event()
    first, second = (_lease(settings, name, stop, lambda _error: None) for name in "ab")
    first.hold()

    def stand_by() -> None:
        second.hold()
        holds.set()

    standby = threading.Thread(target=stand_by)
    standby.start()
    # Three times as long as a lease lasts that nobody renews.
    side_by_side = holds.wait(settings.lease_seconds * 3)
    first.release()
    assert holds.wait(WAIT_SECONDS), "a released lease is taken over"
    standby.join()
    second.release()
    if side_by_side:
        raise GuardMissing("two flows held the lease side by side")


def who_lost_the_lease_is_told(settings: Settings, url: str) -> None:
    """A flow that was away too long learns that another one has its lease."""
    stop, told = threading.Event(), threading.Event()
    lease = _lease(settings, "a", stop, lambda _error: told.set())
    lease.hold()
    with connect(url, "flow") as conn:
        conn.execute("UPDATE leases SET holder = 'b', expires_at = now() + interval '1 hour'")
    noticed = told.wait(settings.lease_seconds * 10)
    lease.release()
    if not noticed:
        raise GuardMissing("a flow went on without its lease")


def _lease(
    settings: Settings, holder: str, stop: threading.Event, lost: Callable[[BaseException], None]
) -> Lease:
    own = settings.model_copy(update={"lease_holder": holder})
    return Lease(own, "flow", "flow", stop, lost)


# -- the flow's own guards, over a simulated broker --


class Rig:
    """One reconciliation's window on a store and broker in memory; `restart` is a new process."""

    def __init__(self) -> None:
        self.now_us = NOON_US
        self.seconds = 0.0
        self.clock = DatabaseClock(lambda: self.seconds)
        self.clock.tell(self.now_us)
        self.fault: Callable[[str], None] = lambda _point: None
        self.store = MemoryStore(lambda: self.now_us, self._fault)
        self.broker = MemoryBroker(dict.fromkeys(TOPICS, 1))
        self.progress = Progress(self._ends, self._committed, HOLD_SECONDS, lambda: self.seconds)
        self.sent = 0
        self.died: threading.Event
        self.restart()
        self.feed([(STREAM[0], _definition())])
        self.writer.drain()

    def restart(self) -> None:
        """Begin anew from what is stored."""
        self.died = threading.Event()
        died = self.died
        self.writer = Writer(
            self.store, self.store, 100, synchronous=False, failed=lambda _error: died.set()
        )
        self.window = MatchWindow(
            Surroundings(
                self.store,
                self.progress.caught_up,
                self.clock.now_us,
                lambda: self.seconds,
                self.progress.behind_us,
            )
        )
        self.parts = [self._part(side) for side in (0, 1)]

    def send(self, side: int, transaction_id: str, days: float = 0.0) -> None:
        """Put a record into a topic, `days` after noon; all of them pay one order."""
        at = NOON_US + round(days * DAY_US)
        value = {
            "tenant_id": "acme",
            "reconciliation_id": "shop",
            "transaction_id": transaction_id,
            "amount": "12.50",
            "currency": "EUR",
            "occurred_at": _instant(at),
            "reference": f"ORD-{days:g}",
        }
        self.broker.append(TOPICS[side], 0, json.dumps(value).encode())
        self.sent += 1

    def read(self, side: int) -> None:
        """Read what a topic has, decide, and let the epoch end behind it."""
        part = self.parts[side]
        for records in part.next_batch():
            self.feed(key_by_tenant_reconciliation(records, self.clock.now_us()))
        part.snapshot()
        part.next_batch()  # the snapshot has gone through: its offset is told

    def tick(self) -> None:
        """Tell the window the time."""
        self.feed([(STREAM[0], TickItem(STREAM[0], self.clock.now_us()))])

    def feed(self, items: list[tuple[str, object]]) -> None:
        """Decide and hand over to the writer."""
        for _, item in items:
            out, _ = self.window.on_batch([item])
            out = list(out)
            if out:
                self.writer.put(out)

    def events(self) -> list[object]:
        """Everything committed."""
        self.writer.drain()
        return [
            event
            for batch in self.store.read_batches(0, 100_000)
            for event in decode_events(batch.events, batch.format)
        ]

    def _fault(self, point: str) -> None:
        self.fault(point)

    def _part(self, side: int) -> MemoryPart:
        saved = self.store.load_offsets(TOPICS[side], "memory", "1").get(0)
        return MemoryPart(self.broker, TOPICS[side], 0, side, saved, self._passed, lambda: False)

    def _passed(self, topic: str, partition: int, next_offset: int) -> None:
        self.writer.save_offset(SourceCheckpoint(topic, partition, next_offset, "memory", "1"))

    def _ends(self) -> dict[tuple[str, int], int]:
        return {(topic, 0): len(self.broker.messages(topic, 0)) for topic in TOPICS}

    def _committed(self) -> dict[tuple[str, int], int]:
        return {place: saved.next_offset for place, saved in self.store.offsets.items()}


def a_record_read_again_counts_once(rig: Rig) -> None:
    """A flow dies between its commit and its checkpoint: the next one reads the same records."""
    rig.send(0, "s-1")
    rig.send(1, "t-1")
    for records in rig.parts[0].next_batch():
        rig.feed(key_by_tenant_reconciliation(records, rig.clock.now_us()))
    rig.writer.drain()
    rig.restart()
    for side in (0, 1):
        rig.read(side)
    accepted = [event for event in rig.events() if isinstance(event, TransactionsAccepted)]
    counted = sum(
        sum(entry[2] for entry in event.counts) + event.redelivered + event.rejected
        for event in accepted
    )
    if counted != rig.sent:
        raise GuardMissing(f"{rig.sent} records were sent and {counted} counted")


def no_offset_is_saved_before_its_commit(rig: Rig) -> None:
    """A flow dies with decisions on their way to the store: the next one reads them again."""
    rig.send(0, "s-1")
    rig.send(1, "t-1")

    def die(point: str) -> None:
        if point == "write:before":
            raise Died(point)

    rig.fault = die
    rig.read(0)
    assert rig.died.wait(WAIT_SECONDS), "the writer has given up"
    rig.fault = lambda _point: None
    rig.restart()
    for side in (0, 1):
        rig.read(side)
    all_accepted(rig)


def nothing_expires_by_the_clock_while_behind(rig: Rig) -> None:
    """The counterpart lies in a topic that is not read yet, and the clock runs past the wait."""
    rig.progress.note()
    rig.send(0, "s-1")
    rig.send(1, "t-1")
    rig.read(0)
    pass_days(rig, 10)
    rig.tick()
    nothing_opened(rig)
    rig.read(1)
    rig.writer.drain()
    pass_days(rig, 1)
    rig.tick()
    matched_after_all(rig)


def nothing_expires_by_later_records_while_behind(rig: Rig) -> None:
    """One topic is read far ahead of the other, whose older records are still to come."""
    rig.now_us += 9 * DAY_US
    rig.clock.tell(rig.now_us)
    rig.progress.note()
    rig.send(1, "t-9", 9.0)
    rig.read(1)
    rig.writer.drain()
    rig.send(0, "s-0")
    rig.send(0, "s-9", 9.0)
    rig.send(1, "t-0")
    rig.seconds += 2 * HOLD_SECONDS
    rig.progress.note()
    rig.read(0)
    nothing_opened(rig)
    rig.read(1)
    rig.writer.drain()
    pass_days(rig, 20)
    rig.tick()
    matched_after_all(rig)


def pass_days(rig: Rig, days: int) -> None:
    """Let time pass; progress is noted all the while."""
    rig.now_us += days * DAY_US
    rig.seconds += days * 86_400
    rig.clock.tell(rig.now_us)
    rig.progress.note()
    # Idle is counted from the first tick on that finds nothing new.
    rig.tick()
    rig.now_us += 60 * SECOND_US
    rig.seconds += 60
    rig.clock.tell(rig.now_us)
    rig.progress.note()


def all_accepted(rig: Rig) -> None:
    accepted = [event for event in rig.events() if isinstance(event, TransactionsAccepted)]
    taken_in = sum(entry[2] for event in accepted for entry in event.counts)
    if taken_in != rig.sent:
        raise GuardMissing(f"{rig.sent} records were sent and {taken_in} accepted")


def nothing_opened(rig: Rig) -> None:
    if any(isinstance(event, RecordUnmatched) for event in rig.events()):
        raise GuardMissing("a transaction expired whose counterpart was there, unread")


def matched_after_all(rig: Rig) -> None:
    events = rig.events()
    assert any(isinstance(event, RecordMatched) for event in events), "in the end they match"
    assert not any(isinstance(event, RecordUnmatched) for event in events), "nothing ever expired"


def _definition() -> Command:
    document = {
        "tenant_id": "acme",
        "reconciliation_id": "shop",
        "window": {"wait": "P3D", "lateness": "PT10M", "idle": "PT30S", "remember": "P60D"},
        "rules": [
            {
                "name": "order",
                "match_type": "one_to_one",
                "conditions": [{"field": "reference", "operator": "exact"}],
            }
        ],
    }
    command_id = "00000000-0000-0000-0000-000000000001"
    return Command(command_id, "acme", "shop", "define", {"definition": document}, None, "c")


def _instant(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat().replace("+00:00", "Z")
