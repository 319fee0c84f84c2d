"""Why the flow does without Bytewax's recovery store: it can apply input twice.

The store writes an epoch's snapshots first and its frontier after, in two transactions. A crash
between them leaves snapshots of an epoch that counts as not done. The next execution reads that
epoch again; when nothing comes for a key before it, the stale snapshot stays under an epoch that
then counts as done. After a second crash it is what the key resumes from, while the source resumes
from before it.

The files are put into the state of the first crash by taking the frontier back one epoch: all that
a crash between the two writes leaves different.
"""

import sqlite3
from datetime import timedelta

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main

ITEMS = 8


class Part(StatefulSourcePartition):
    """Items one by one from where the recovery store says; idle first, if told so."""

    def __init__(self, idle, until, start):
        self._idle, self._until, self._next = idle, until, start

    def next_batch(self):
        if self._idle:
            self._idle -= 1
            return []
        if self._next == self._until:
            if self._until == ITEMS:
                raise StopIteration
            raise AbortExecution
        self._next += 1
        return [("key", 1)]

    def snapshot(self):
        return self._next


class Source(FixedPartitionedSource):
    def __init__(self, idle, until):
        self._plan = (idle, until)

    def list_parts(self):
        return ["only"]

    def build_part(self, _step_id, _for_part, resume_state):
        idle, until = self._plan
        start = resume_state or 0
        return Part(idle, start if until is None else until, start)


def execute(folder, idle, until):
    """Count the items of one execution; the counts given out."""
    counts = []
    flow = Dataflow("items")
    items = op.input("items", flow, Source(idle, until))
    counted = op.stateful_map(
        "count", items, lambda state, one: ((state or 0) + one, (state or 0) + one)
    )
    op.output("counts", counted, TestingSink(counts))
    # Snapshots are kept for a while, as one would for a backup; the default keeps fewer.
    config = RecoveryConfig(folder, timedelta(days=1))
    run_main(flow, epoch_interval=timedelta(0), recovery_config=config)
    return [count for _, count in counts]


def take_the_frontier_back(folder):
    with sqlite3.connect(folder / "part-0.sqlite3") as database:
        (last,) = database.execute(
            "SELECT max(snap_epoch) FROM snaps WHERE step_id LIKE 'items.count%'"
        ).fetchone()
        database.execute("UPDATE fronts SET worker_frontier = ?", (last,))
    database.close()


def test_two_crashes_apply_input_twice(tmp_path):
    init_db_dir(tmp_path, 1)
    assert execute(tmp_path, idle=0, until=5)[-1] == 5
    take_the_frontier_back(tmp_path)
    assert execute(tmp_path, idle=5, until=None) == []
    counts = execute(tmp_path, idle=0, until=ITEMS)
    assert counts[-1] > ITEMS, "the store applied something twice"
