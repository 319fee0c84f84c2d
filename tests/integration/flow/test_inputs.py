"""That what a flow reads stays in step, and what becomes of two inputs of Bytewax that do not."""

from datetime import UTC, datetime, timedelta
from functools import partial

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import StatefulSourcePartition
from bytewax.testing import TestingSink, run_main

from flows.inputs import Inputs
from flows.process import FlowProcess
from flows.reconcile import build_flow

EPOCH = timedelta(milliseconds=100)
#: How often each is to be asked. What is asked less often ends its epochs later.
OFTEN, SELDOM = timedelta(milliseconds=2), timedelta(milliseconds=70)
#: How often the second is asked, and how many of the first of these do not count.
ASKED, STARTING = 20, 8


class Asked(StatefulSourcePartition):
    """Notes when it is asked, and has nothing."""

    def __init__(self, every, asked, ends):
        self._every, self._asked, self._ends = every, asked, ends
        self._next_awake = None

    def next_batch(self):
        if self._ends():
            raise StopIteration
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


@pytest.fixture
def process(make_settings):
    return FlowProcess(make_settings(), clustered=False)


def test_the_flow_reads_all_there_is_by_one_input(process):
    kinds = [type(step).__name__ for step in build_flow(process).substeps]
    assert kinds.count("input") == 1
