"""What the flow reads besides topics: commands from the inbox, reconciliations due, redrives.

One part of its input, read by one worker. Everything it gives out stays in the store until a commit
says it is done, so what is lost on the way is given out again; a second time changes nothing.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bytewax.inputs import StatefulSourcePartition
from typing_extensions import override

from connectors.postgres.dead_letters import StoredDeadLetter
from connectors.postgres.inbox import Command
from domain.identity import stream_id
from flows.arrivals import Arrivals, decode_redriven
from flows.windows import TickItem

_POLL = timedelta(milliseconds=100)
_COMMANDS_MAX = 100
_STREAMS_MAX = 1_000
_LETTERS_MAX = 1_000
# Given out and not heard of for this long, it is given out again.
_AGAIN_SECONDS = 30.0
_TICK_AGAIN_SECONDS = 0.5

ControlItem = tuple[str, Arrivals | Command | TickItem]


class ControlStore(Protocol):
    """What the control part reads."""

    def read_pending(self, limit: int, exclude: list[str]) -> list[Command]:
        """Undecided commands, oldest first."""

    def read_redrivable(self, limit: int, exclude: list[str]) -> list[StoredDeadLetter]:
        """Dead letters to be taken up again."""

    def read_due(self, until_us: int, limit: int) -> list[str]:
        """Streams that asked to be woken by then."""


class _OnTheWay:
    """Ids given out lately, so that they are not given out again at every poll."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since: dict[str, float] = {}

    def ids(self) -> list[str]:
        oldest = self._clock() - self._seconds
        self._since = {one: at for one, at in self._since.items() if at > oldest}
        return list(self._since)

    def add(self, one: str) -> None:
        self._since[one] = self._clock()


class ControlPart(StatefulSourcePartition[ControlItem, None]):
    """The part of the flow's input that is no topic's.

    Args:
        clock_us: The time, microseconds since the epoch.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: ControlStore,
        stopping: Callable[[], bool],
        clock_us: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._stopping = stopping
        self._clock_us = clock_us
        self._commands = _OnTheWay(_AGAIN_SECONDS, clock)
        self._letters = _OnTheWay(_AGAIN_SECONDS, clock)
        self._ticks = _OnTheWay(_TICK_AGAIN_SECONDS, clock)
        self._next_awake: datetime | None = None

    @override
    def next_batch(self) -> list[ControlItem]:
        if self._stopping():
            raise StopIteration
        self._next_awake = datetime.now(UTC) + _POLL
        items: list[ControlItem] = []
        for command in self._store.read_pending(_COMMANDS_MAX, self._commands.ids()):
            self._commands.add(command.command_id)
            items.append((stream_id(command.tenant_id, command.reconciliation_id), command))
        letters = self._store.read_redrivable(_LETTERS_MAX, self._letters.ids())
        for letter in letters:
            self._letters.add(letter.dead_letter_id)
        now_us = self._clock_us()
        items += decode_redriven(letters, now_us)
        waiting = set(self._ticks.ids())
        for due in self._store.read_due(now_us, _STREAMS_MAX):
            if due not in waiting:
                self._ticks.add(due)
                items.append((due, TickItem(due, now_us)))
        return items

    @override
    def next_awake(self) -> datetime | None:
        return self._next_awake

    @override
    def snapshot(self) -> None:
        return None
