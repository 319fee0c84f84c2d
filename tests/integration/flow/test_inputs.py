"""That what a flow reads stays in step, and what becomes of inputs of Bytewax that do not."""

import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import StatefulSourcePartition
from bytewax.testing import TestingSink, cluster_main, run_main

from flows.inputs import Inputs, _PartInStep
from flows.process import FlowProcess
from flows.reconcile import build_flow

EPOCH = timedelta(milliseconds=100)
#: How often each is to be asked. What is asked less often ends its epochs later.
OFTEN, SELDOM = timedelta(milliseconds=2), timedelta(milliseconds=70)
#: How often the second is asked, and how many of the first of these do not count.
ASKED, STARTING = 20, 8
#: The same of another worker, and after how many askings these have drifted apart if they do.
LESS_OFTEN, WARM = timedelta(milliseconds=37), 40


class Asked(StatefulSourcePartition):
    """Notes when it is asked, and has nothing."""

    def __init__(self, every, asked, ends, stalls=lambda: 0.0):
        self._every, self._asked, self._ends, self._stalls = every, asked, ends, stalls
        self._next_awake = None

    def next_batch(self):
        if self._ends():
            raise StopIteration
        time.sleep(self._stalls())  # standing still is what is tested; nothing is waited for
        self._asked.append(datetime.now(UTC))
        self._next_awake = datetime.now(UTC) + self._every
        return []

    def next_awake(self):
        return self._next_awake

    def snapshot(self):
        return None


def asked_meanwhile(wire):
    """How often the one is asked from one asking of the other to the next, once both have begun.

    Args:
        wire: Puts inputs into a flow, given what makes each part by its name.
    """
    often, seldom = [], []

    def ends():
        return len(seldom) >= ASKED

    flow = Dataflow("asking")
    parts = {
        "often": partial(Asked, OFTEN, often, ends),
        "seldom": partial(Asked, SELDOM, seldom, ends),
    }
    op.output("out", wire(flow, parts), TestingSink([]))
    run_main(flow, epoch_interval=EPOCH)
    counted = [one for one in often if seldom[STARTING] <= one < seldom[-1]]
    return len(counted) / (ASKED - 1 - STARTING)


def test_the_parts_of_one_input_are_asked_as_often_as_they_want():
    assert asked_meanwhile(lambda flow, parts: op.input("inputs", flow, Inputs(lambda: parts))) > 6


def test_of_two_inputs_the_one_waits_an_epoch_for_the_other():
    """Why there is one: this fails once Bytewax keeps inputs in step."""

    def two(flow, parts):
        alone = [{name: part} for name, part in parts.items()]
        return op.merge(
            "both", *(op.input(*one, flow, Inputs(lambda one=one: one)) for one in alone)
        )

    assert asked_meanwhile(two) < 3


def asked_by_another_worker(epoch, stalls=lambda _asked: 0.0):
    """How often the one worker asks from one asking of the other to the next, see above.

    Args:
        epoch: What `Inputs` is told of it.
        stalls: How many seconds the other worker does nothing at its next asking.
    """
    workers, asked = [], ([], [])

    def part():
        here = threading.get_ident()
        if here not in workers:
            workers.append(here)
        mine = asked[workers.index(here)]
        if here == workers[0]:
            return Asked(OFTEN, mine, ends)
        return Asked(LESS_OFTEN, mine, ends, lambda: stalls(len(mine)))

    def ends():
        return len(asked[1]) >= 2 * WARM

    flow = Dataflow("asking")
    parts = {"one": part, "other": part}
    op.output("out", op.input("inputs", flow, Inputs(lambda: parts, epoch)), TestingSink([]))
    cluster_main(flow, [], 0, epoch_interval=EPOCH, worker_count_per_proc=2)
    assert len(workers) == 2, "Bytewax spreads parts over the workers"
    often, less_often = asked
    counted = [one for one in often if less_often[WARM] <= one < less_often[-1]]
    return len(counted) / (WARM - 1)


def test_a_worker_waits_an_epoch_for_another():
    """Why they are kept in step: this fails once Bytewax does it."""
    assert asked_by_another_worker(None) < 1


def test_workers_kept_in_step_are_asked_as_often_as_they_want():
    assert asked_by_another_worker(EPOCH) > 3


def test_workers_are_in_step_again_after_one_has_stalled():
    def stalls(asked):
        return 3 * EPOCH.total_seconds() if asked == WARM // 2 else 0.0

    assert asked_by_another_worker(EPOCH, stalls) > 3


@pytest.fixture
def process(make_settings):
    return FlowProcess(make_settings(), clustered=False)


def test_the_flow_reads_all_there_is_by_one_input(process):
    kinds = [type(step).__name__ for step in build_flow(process).substeps]
    assert kinds.count("input") == 1


def test_of_a_cluster_the_workers_are_kept_in_step(make_settings):
    process = FlowProcess(make_settings(), clustered=True)
    process.parts = lambda: {"control": partial(Asked, SELDOM, [], bool)}
    (inputs,) = (one for one in build_flow(process).substeps if type(one).__name__ == "input")
    assert isinstance(inputs.source.build_part("inputs", "control", None), _PartInStep)
