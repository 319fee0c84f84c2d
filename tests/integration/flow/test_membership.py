"""How processes of a cluster that run each by itself find one another, and miss who is gone."""

import queue
import threading

import pytest

from connectors.postgres.connections import WaitInterrupted, connect
from connectors.postgres.lease import read_lease
from flows import membership
from flows.membership import Membership, PeerLost
from tests.integration.flow.running import eventually

HERE = ["localhost:1", "localhost:2"]


class Member:
    """One process, as far as the others see it."""

    def __init__(self, settings, index, addresses=HERE, *, watches=True) -> None:
        self.stop = threading.Event()
        self.lost = queue.Queue()
        self.problem = queue.Queue()
        self.formed = threading.Event()
        self.membership = Membership(settings, addresses, index, self.stop, self.lost.put)
        if not watches:
            # Killed as soon as it has joined: it renews nothing and tells nobody.
            self.membership._watch = lambda: None
        self._joining = threading.Thread(target=self._join, daemon=True)
        self._joining.start()

    def _join(self) -> None:
        try:
            self.membership.join()
        except (WaitInterrupted, PeerLost) as problem:
            self.problem.put(problem)
        else:
            self.formed.set()

    def end(self) -> None:
        """Close what a process that ends closes; all have been told to stop before."""
        self._joining.join(30)
        for thread in threading.enumerate():
            if thread.name == "members":
                thread.join(30)
        self.membership._store.close()

    def why_lost(self) -> str:
        problem = self.lost.get(timeout=30)
        assert isinstance(problem, PeerLost)
        return str(problem)


@pytest.fixture
def member(database, make_settings, monkeypatch):
    # Nothing has to be drained here, and so what is not drained in time is told soon.
    monkeypatch.setattr(membership, "DRAIN_SECONDS", 0.05)
    monkeypatch.setattr(membership, "_LOOK_SECONDS", 0.05)
    made = []

    def make(index, *, seconds=20, **options):
        settings = make_settings(
            database_url=database.url, lease_seconds=seconds, lease_holder="shop"
        )
        made.append(Member(settings, index, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop.set()
    for one in made:
        one.end()


@pytest.fixture
def places(database):
    """Who is at either place of the cluster."""
    with connect(database.url, "flow") as conn:
        yield lambda: [read_lease(conn, f"flow/shop/{place}").holder for place in (0, 1)]


def all_formed(*members):
    eventually(30, "all have joined", lambda: all(one.formed.is_set() for one in members))


def test_a_process_that_ends_in_order_ends_the_others(member):
    first, second = member(0), member(1)
    all_formed(first, second)
    second.stop.set()
    eventually(30, "the other is told to stop", first.stop.is_set)
    # A dataflow that has not ended by itself after that is ended.
    assert "the cluster did not end within" in first.why_lost()


def test_a_process_that_is_started_again_is_joined_by_all_anew(member, places):
    first, second = member(0), member(1)
    all_formed(first, second)
    again = member(1)
    assert first.why_lost() == "process 1 of the cluster was started again"
    assert second.why_lost() == "another process has place 1 of the cluster"
    eventually(30, "its place is free for the next start", lambda: places()[0] is None)
    assert not again.formed.is_set(), "the one there was has not been waited for"
    all_formed(member(0), again)


def test_a_process_that_renews_its_place_no_more_is_gone(member):
    first = member(0, seconds=0.4)
    second = member(1, seconds=0.4, watches=False)
    all_formed(first, second)
    assert first.why_lost() == "process 1 of the cluster is gone"


def test_processes_of_other_addresses_are_waited_out(member, places):
    old = member(1, addresses=["localhost:1", "localhost:3"])
    eventually(30, "it waits", lambda: places()[1] is not None)
    new = member(0)
    eventually(30, "it waits, too", lambda: places()[0] is not None)
    assert not new.formed.wait(0.3)
    all_formed(new, member(1))
    problem = old.problem.get(timeout=30)
    assert str(problem) == "another process has place 1 of the cluster"


def test_who_is_told_to_stop_while_waiting_leaves(member, places):
    alone = member(0)
    eventually(30, "it waits", lambda: places()[0] is not None)
    alone.stop.set()
    assert "told to stop" in str(alone.problem.get(timeout=30))
    assert places()[0] == "leaving"
