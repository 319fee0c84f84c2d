"""A role whose machine has a wrong clock, or whose code breaks down, as a file tells it.

`python -m deploy.bench.chaos.disturbed FOLDER MODULE ARGUMENTS` runs a module as its own command
would, and so do the processes it starts. What the roles themselves are made of knows nothing of it.

What this moves is the clock as Python tells it. Bytewax asks the system itself; all it does by that
clock is to wait for instants, and of these only a clock that goes back makes a difference: sources
are then asked no more until the clock is again where it was, and that is what they are told here.
"""

import runpy
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from typing_extensions import override

RUN = (sys.executable, "-m", "deploy.bench.chaos.disturbed")
_CLOCK, _BREAKDOWN = "clock", "breakdown"
_LOOK_SECONDS = 0.02


class BrokeDown(ArithmeticError):
    """What a flow ends by when it is to end by an exception of its own."""


class Disturbance:
    """What a role is told, through a folder that its processes look into.

    Args:
        folder: Of this role alone; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._clock = folder / _CLOCK
        self._breakdown = folder / _BREAKDOWN

    def set_clock(self, seconds: float) -> None:
        """Have the role's clock be so far ahead from now on; negative: behind."""
        aside = self._clock.with_suffix(".new")
        aside.write_text(repr(seconds))
        aside.replace(self._clock)  # nobody reads half of it

    def clock(self) -> float:
        """How far ahead the role's clock is, seconds."""
        try:
            return float(self._clock.read_text())
        except FileNotFoundError:
            return 0.0

    def break_down(self) -> None:
        """Have one process of the role break down over what it decides next."""
        self._breakdown.touch()

    def take_breakdown(self) -> bool:
        """Whether one was asked for and nobody has taken it yet; then it is taken."""
        try:
            self._breakdown.unlink()
        except FileNotFoundError:
            return False
        return True


def disturbed(command: Sequence[str], folder: Path) -> list[str]:
    """Return the command that runs the same disturbed: `PYTHON -m MODULE` and its arguments."""
    _, option, module, *arguments = command
    assert option == "-m", f"only a module can be run disturbed, not {command}"
    return [*RUN, str(folder), module, *arguments]


class _Clock:
    """The system's clock as far off as a file says."""

    def __init__(self, told: Disturbance) -> None:
        self._told = told
        self._time, self._time_ns = time.time, time.time_ns
        self._ahead = told.clock()
        # By the system's clock: until then sources sleep, after one that went back. Those that
        # are made afterwards, as a standby does, were told no instant before.
        self._asleep_until = 0.0
        self._told_instants = False

    def follow(self) -> None:
        """Look into the file again and again, from a thread of its own."""
        threading.Thread(target=self._follow, name="wrong-clock", daemon=True).start()

    def _follow(self) -> None:
        pause = threading.Event()
        while not pause.wait(_LOOK_SECONDS):
            self.move(self._told.clock())

    def move(self, ahead: float) -> None:
        """Be so many seconds ahead from now on."""
        back = self._ahead - ahead
        if back > 0 and self._told_instants:
            self._asleep_until = max(self._asleep_until, self._time()) + back
        elif back < 0:
            self._asleep_until += back
        self._ahead = ahead

    def time(self) -> float:
        """What `time.time` says on this machine."""
        return self._time() + self._ahead

    def time_ns(self) -> int:
        """What `time.time_ns` says on this machine."""
        return self._time_ns() + int(self._ahead * 1e9)

    def next_awake(self) -> float:
        """What Bytewax compares with the system's clock where it is told the present."""
        self._told_instants = True
        return max(self._time(), self._asleep_until)


def _datetime_of(tell: Callable[[], float]) -> type[datetime]:
    class Told(datetime):
        @classmethod
        @override
        def now(cls, tz: tzinfo | None = None) -> "Told":
            return cls.fromtimestamp(tell(), tz)

    return Told


def _have_clock(clock: _Clock) -> None:
    # Before anything is imported that keeps the functions themselves.
    vars(time).update(time=clock.time, time_ns=clock.time_ns)
    import connectors.kafka
    import connectors.telemetry
    import flows.control
    import flows.publish
    import projections.runner

    for module in (connectors.kafka, flows.control, flows.publish):
        vars(module)["datetime"] = _datetime_of(clock.next_awake)
    for other in (connectors.telemetry, projections.runner):
        vars(other)["datetime"] = _datetime_of(clock.time)
    clock.follow()


def _have_breakdowns(told: Disturbance) -> None:
    from flows.windows import MatchWindow

    on_batch = MatchWindow.on_batch

    def breaking(window: MatchWindow, values: list[object]) -> object:
        if told.take_breakdown():
            raise BrokeDown("told to break down")
        return on_batch(window, values)

    setattr(MatchWindow, "on_batch", breaking)  # noqa: B010 - mypy lets no method be assigned


def _have_children(folder: str) -> None:
    import deploy.supervisor

    program = (*RUN, folder, "deploy.cli.main", "run")
    vars(deploy.supervisor)["_RUN"] = program


def main() -> None:
    """Run what the command line names, disturbed."""
    folder, module, *arguments = sys.argv[1:]
    told = Disturbance(Path(folder))
    _have_clock(_Clock(told))
    _have_breakdowns(told)
    _have_children(folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
