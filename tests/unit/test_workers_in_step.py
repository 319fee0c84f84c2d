"""Workers of a cluster in simulated time, looking at their inputs by Bytewax's rules."""

import heapq
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from flows.inputs import Inputs

EPOCH = timedelta(seconds=0.5)
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
POLL = timedelta(milliseconds=5)
INSTANT = timedelta(microseconds=100)


class Source:
    """A part with something to read at every `every`-th look, or nothing at all."""

    def __init__(self, world, every=0, poll=POLL, ends_at=None):
        self.world, self.every, self.poll, self.ends_at = world, every, poll, ends_at
        self.reads = []
        self.next_look = None

    def next_batch(self):
        if self.ends_at is not None and self.world.now >= self.ends_at:
            raise StopIteration
        self.reads.append(self.world.now)
        found = self.every and len(self.reads) % self.every == 0
        self.next_look = None if found else self.world.now + self.poll
        return [1] if found else []

    def next_awake(self):
        return self.next_look

    def snapshot(self):
        return None

    def close(self):
        pass

    def silences(self):
        return [other - one for one, other in pairwise(self.reads)]


class Worker:
    """The parts of one worker, each with its epoch, when that began, and its next look."""

    def __init__(self, world, sources, step, paced):
        self.world, self.step = world, step
        inputs = Inputs(lambda: sources, EPOCH if paced else None, lambda: world.now)
        self.parts = {
            name: [inputs.build_part("inputs", name, None), 0, BEGIN, None] for name in sources
        }

    def look(self):
        """Look at every part as Bytewax does; return when the worker looks next."""
        now, has_read = self.world.now, False
        everywhere = min(epoch for one in self.world.workers for _, epoch, *_ in one.parts.values())
        for name, state in sorted(self.parts.items()):
            part, epoch, began, wanted = state
            if epoch > everywhere:
                continue
            ended = False
            if wanted is None or wanted <= now:
                try:
                    batch = part.next_batch()
                    has_read |= bool(batch)
                    state[3] = part.next_awake() or now
                except StopIteration:
                    ended = True
            if ended or now - began >= EPOCH:
                part.snapshot()
                state[1:3] = epoch + 1, now
            if ended:
                part.close()
                del self.parts[name]
        busy = self.step(now) if has_read else INSTANT
        return max(now + busy, min((state[3] or now for state in self.parts.values()), default=now))


class World:
    """Workers that look in turn.

    Args:
        workers: For each what makes its sources by name, given the world, and how long a step of
            it takes that has read something, given the time.
    """

    def __init__(self, workers, paced):
        self.now = BEGIN
        self.sources = [
            {name: make(self) for name, make in sources.items()} for sources, _ in workers
        ]
        self.workers = []
        for sources, (_, step) in zip(self.sources, workers, strict=True):
            made = {name: (lambda source=source: source) for name, source in sources.items()}
            self.workers.append(Worker(self, made, step, paced))

    def run(self, seconds):
        looks = [(BEGIN + index * INSTANT, index) for index in range(len(self.workers))]
        while self.now < BEGIN + timedelta(seconds=seconds):
            self.now, index = heapq.heappop(looks)
            heapq.heappush(looks, (self.workers[index].look(), index))
        return self.sources


def milliseconds(count):
    return lambda _now: timedelta(milliseconds=count)


def idle(**more):
    return lambda world: Source(world, **more)


def busy(world):
    return Source(world, every=1)


@pytest.mark.parametrize("step_ms", [1, 40])
def test_a_worker_with_less_to_do_does_not_run_ahead(step_ms):
    """Steps of the other take so long that its looks, and so its epochs' ends, come late."""
    workers = [
        ({"light": lambda world: Source(world, every=2)}, milliseconds(step_ms)),
        ({"heavy": busy}, milliseconds(90)),
    ]
    alone, kept = (len(World(workers, paced).run(60)[0]["light"].reads) for paced in (False, True))
    assert kept > 4 * alone


def test_idle_workers_are_in_step_after_one_has_stood_still():
    def once(now):
        return timedelta(seconds=2.2 if now - BEGIN < timedelta(seconds=15) else 0.001)

    workers = [({"one": idle()}, once), ({"other": idle(every=2_000)}, once)]
    one, other = World(workers, paced=True).run(60)
    reads = [at for at in one["one"].reads if at > BEGIN + timedelta(seconds=40)]
    assert len(reads) > 0.8 * (timedelta(seconds=20) / POLL)
    assert max(one["one"].silences()) < timedelta(seconds=2.2) + 2 * EPOCH
    assert max(other["other"].silences()) < timedelta(seconds=2.2) + 2 * EPOCH


def test_busy_workers_wait_less_for_each_other():
    """That a step of theirs takes long now and then is not being ahead."""
    alone, kept = (sum(read_by_busy_ones(paced, seed) for seed in range(4)) for paced in (0, 1))
    assert kept > 1.19 * alone


def read_by_busy_ones(paced, seed):
    rng = random.Random(seed)

    def step(_now):
        long = 300 * rng.random() if rng.random() < 0.05 else 0
        return timedelta(milliseconds=105 + long)

    workers = [({"one": busy, "two": busy}, step)] * 2
    sources = World(workers, paced).run(60)
    return sum(len(source.reads) for of_one in sources for source in of_one.values())


def test_a_part_that_has_ended_holds_nobody_up():
    ending = idle(ends_at=BEGIN + timedelta(seconds=5))
    workers = [
        ({"ends": ending, "goes on": idle()}, milliseconds(1)),
        ({"other": idle()}, milliseconds(1)),
    ]
    one, other = World(workers, paced=True).run(60)
    for source in (one["goes on"], other["other"]):
        assert len(source.reads) > 0.8 * (timedelta(seconds=60) / POLL)
        assert max(source.silences()) < timedelta(milliseconds=50)
