"""The load of a chaos run: generated records at a steady pace, some sent again, some out of order.

Event time runs far faster than the clock. So what is late by a second of an outage is late by
hours of event time, and the definitions allow for that in their lateness: what arrives is then
never late enough to be decided differently, and the generator's truth is the truth.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from connectors.synthetic.definitions import LATENESS_SECONDS
from connectors.synthetic.facts import Facts, digest
from connectors.synthetic.scenarios import Message
from connectors.synthetic.topics import LoadProducer
from connectors.synthetic.workload import BLOCK_US, Workload, ending_before
from deploy.bench.chaos.plan import OUTAGE_SECONDS_MAX
from domain.errors import SettlerError

HOLD_SECONDS = 1.5
"""SETTLER_HOLD_SECONDS of the flows: how far partitions may be read apart without a hold."""
_DAYS_A_SECOND = 0.4
_RECONNECT_SECONDS = 0.5
_PAUSE_POLL_SECONDS = 0.05
# While records come, silence never ends the waits; afterwards it does so soon.
_IDLE_UNDER_LOAD_SECONDS = 600
_IDLE_AFTER_SECONDS = 1
# One request at a time, or a broken connection could change the order within a key. Records may be
# sent twice all the same, which is as good as an injection and is counted from the topics.
_PRODUCER = {
    "max.in.flight.requests.per.connection": 1,
    "enable.idempotence": False,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 200,
    "log_level": 0,
}


class ChaosLoad:
    """A workload sent over some seconds from a thread of its own.

    Args:
        seed: Of the records, and of which are sent again.
        records_per_second: About so many.
        seconds: How long sending takes.
    """

    def __init__(
        self, seed: int, records_per_second: int, seconds: float, config: Mapping[str, Any]
    ) -> None:
        self.truth = Facts()
        self._seconds = seconds
        self._period_days = max(1, round(seconds * _DAYS_A_SECOND))
        self._workload = Workload(
            seed=seed,
            transactions=round(records_per_second * seconds),
            ending_at_us=ending_before(time.time_ns() // 1000),
            period_days=self._period_days,
        )
        self._blocks = list(self._workload.blocks(self.truth))
        self._chance = random.Random(seed)
        self._config = dict(config)
        self._again: list[int] = []
        self._mixed = 0
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._pause_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.sent_again = 0

    @property
    def records(self) -> int:
        """Messages of the workload, without those sent again."""
        return sum(map(len, self._blocks))

    def definitions(self, *, after: bool = False) -> list[dict[str, Any]]:
        """Definitions for while the load comes, or for after it, when all waits are to run out."""
        idle = _IDLE_AFTER_SECONDS if after else _IDLE_UNDER_LOAD_SECONDS
        documents = self._workload.definitions(idle)
        for document in documents:
            window = document["window"]
            assert isinstance(window, dict), "a definition document has its window as an object"
            window["lateness"] = f"PT{self.lateness_hours}H"
        return documents

    @property
    def lateness_hours(self) -> int:
        """What may come out of order by: shuffling, outages, and partitions read apart."""
        hours_a_second = self._period_days * 24 / self._seconds
        block_hours = BLOCK_US / 3_600_000_000
        generated = LATENESS_SECONDS / 3600 + 2 * block_hours
        apart = OUTAGE_SECONDS_MAX + _RECONNECT_SECONDS + HOLD_SECONDS
        return round(generated + apart * hours_a_second + 1)

    def start(self, prefix: str) -> None:
        """Begin to send."""
        self._producer = LoadProducer(self._config | _PRODUCER, prefix)
        self._thread.start()

    def send_again(self, count: int) -> None:
        """Send some records that were sent before once more, with what comes next."""
        with self._lock:
            self._again.append(count)

    def mix(self) -> None:
        """Send the next two stretches mixed."""
        with self._lock:
            self._mixed += 1

    def pause_soon(self) -> None:
        """Send no more once an outage has lasted as long as the definitions' lateness allows for.

        The broker takes longer to start than that.
        """
        with self._lock:
            # A broker that is ended once more while it starts: that is one outage still.
            if self._pause_at is None:
                self._pause_at = time.monotonic() + OUTAGE_SECONDS_MAX

    def go_on(self) -> None:
        """Send again; event time goes on where it stood."""
        with self._lock:
            self._pause_at = None

    def finish(self) -> None:
        """Wait until everything is confirmed.

        Raises:
            LoadNotSent: The broker did not take everything.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def expected(self, landed: Counter[tuple[int, bytes]]) -> Facts:
        """The truth of what is in the topics: the generator's, and every record there once more.

        Args:
            landed: (side, value) → how often the topics have it.

        Raises:
            RecordsLost: The topics lack a record that the broker confirmed.
        """
        sent = Counter((side, value) for block in self._blocks for side, _, value in block)
        missing = sent - landed
        if missing:
            raise RecordsLost(f"the broker lost {missing.total()} records it had confirmed")
        truth = self.truth
        expected = Facts(
            list(truth.matches),
            list(truth.exceptions),
            list(truth.dead_letters),
            {key: list(tally) for key, tally in truth.accepted.items()},
            Counter(truth.redelivered),
        )
        refused = {one.digest: one for one in truth.dead_letters}
        for (_, value), count in (landed - sent).items():
            letter = refused.get(digest(value))
            if letter is not None:
                expected.dead_letters += [letter] * count
            else:
                expected.redelivered[_stream_of(value)] += count
        return expected

    def _run(self) -> None:
        try:
            self._send_all()
            self._producer.finish()
        except BaseException as exc:  # noqa: BLE001 - raised in `finish`, on the caller's thread
            self._error = exc

    def _send_all(self) -> None:
        begin = time.monotonic()
        sent: list[Message] = []
        place = 0
        while place < len(self._blocks) and not self._stopped.is_set():
            begin += self._paused()
            with self._lock:
                mixes, self._mixed = self._mixed > 0, max(0, self._mixed - 1)
                again, self._again = self._again, []
            width = 2 if mixes else 1
            messages = [one for block in self._blocks[place : place + width] for one in block]
            if mixes:
                messages = _mixed(messages, self._chance)
            for count in again:
                chosen = self._chance.sample(sent, min(count, len(sent)))
                self.sent_again += len(chosen)
                messages += chosen
            for side, key, value in messages:
                self._producer.send(side, key, value)
            sent += messages
            place += width
            due = begin + place * self._seconds / len(self._blocks)
            while (left := due - time.monotonic()) > 0 and not self._stopped.is_set():
                self._producer.wait(min(left, 0.05))

    def _paused(self) -> float:
        """Wait while sending is paused; returns the seconds waited."""
        since = time.monotonic()
        while self._pause_at is not None and time.monotonic() >= self._pause_at:
            self._producer.wait(_PAUSE_POLL_SECONDS)
            if self._stopped.is_set():
                break
        return time.monotonic() - since


class RecordsLost(SettlerError):
    """The topics do not hold what was sent, so nothing can be said about who reads them."""

    code = "chaos.records_lost"


def _mixed(messages: list[Message], chance: random.Random) -> list[Message]:
    """Shuffle, but leave the messages of each key in their order: the first of an id counts."""
    places: dict[tuple[int, bytes], list[int]] = {}
    order = list(range(len(messages)))
    chance.shuffle(order)
    for place, number in enumerate(order):
        side, key, _ = messages[number]
        places.setdefault((side, key), []).append(place)
    mixed: list[Message] = list(messages)
    for message in messages:
        mixed[places[message[0], message[1]].pop(0)] = message
    return mixed


class _Scope(msgspec.Struct):
    tenant_id: str
    reconciliation_id: str


_scope = msgspec.json.Decoder(_Scope)


def _stream_of(value: bytes) -> str:
    found = _scope.decode(value)
    return f"{found.tenant_id}/{found.reconciliation_id}"
