"""How far behind a flow is, as its metrics show it while broker or store does not answer."""

import threading

from prometheus_client import REGISTRY

from flows.progress import Progress, ProgressThreads
from tests.integration.flow.running import eventually

PLACE = ("settler.transactions.source", 3)


class Around:
    """A broker and a store that say what they are told to, or do not answer."""

    def __init__(self):
        self.end = 0
        self.committed = 0
        self.seconds = 0.0
        self.store_answers = threading.Event()
        self.store_answers.set()
        self.progress = Progress(
            lambda: {PLACE: self.end}, self._committed, 5.0, lambda: self.seconds
        )

    def _committed(self):
        self.store_answers.wait(30)
        return {PLACE: self.committed}


def lag():
    labels = {"topic": PLACE[0], "partition": str(PLACE[1])}
    return REGISTRY.get_sample_value("settler_flow_lag_messages", labels)


def test_the_lag_grows_while_the_store_does_not_answer():
    around = Around()
    stop = threading.Event()
    around.end = around.committed = 10
    ProgressThreads(around.progress, stop).start()
    eventually(10, "it has caught up", around.progress.caught_up)
    assert lag() == 0
    around.store_answers.clear()
    around.end, around.seconds = 250, 7.0
    eventually(10, "the lag is seen", lambda: lag() == 240)
    assert not around.progress.caught_up()
    assert REGISTRY.get_sample_value("settler_flow_behind_seconds") == 7.0
    around.committed = 250
    around.store_answers.set()
    eventually(10, "it has caught up again", lambda: lag() == 0 and around.progress.caught_up())
    stop.set()


def test_what_is_committed_is_told_each_time():
    around = Around()
    told = []
    around.progress.told = told.append
    around.progress.note()
    around.committed = 3
    around.progress.note()
    assert told == [{PLACE: 0}, {PLACE: 3}]


def test_before_the_store_has_answered_nothing_is_claimed():
    around = Around()
    around.end = 5
    around.progress.note_ends()
    assert not around.progress.caught_up()
    assert around.progress.behind_us() == 0
