"""The lease by the database's clock, and the standby that can be seen."""

import pytest
from structlog.testing import capture_logs

from connectors.postgres.connections import WaitInterrupted
from connectors.postgres.lease import acquire, read_lease, release, wait_for_lease


def run_out(database, name: str) -> None:
    with database.connect(autocommit=True) as owner:
        owner.execute(
            "UPDATE leases SET expires_at = clock_timestamp() - interval '1 second'"
            " WHERE name = %s",
            (name,),
        )


def test_a_standby_is_seen_and_takes_over_when_the_holder_dies(flow, database):
    assert acquire(flow, "flow", "first", 60)
    seen = []

    def wait(seconds: float) -> bool:
        seen.append((seconds, read_lease(flow, "flow")))
        if len(seen) == 3:
            run_out(database, "flow")  # the holder stopped renewing
        return False

    with capture_logs() as logs:
        wait_for_lease(flow, "flow", "second", 8, wait)
    assert [seconds for seconds, _ in seen] == [2, 2, 2]
    state = seen[0][1]
    assert (state.holder, state.standbys) == ("first", ["second"])
    assert 50 < state.remaining_seconds <= 60
    assert [(e["event"], e.get("held_by")) for e in logs] == [
        ("lease.standby", "first"),
        ("lease.acquired", None),
    ]
    state = read_lease(flow, "flow")
    assert (state.holder, state.standbys) == ("second", [])


def test_a_released_lease_is_free_at_once(flow):
    acquire(flow, "flow", "first", 60)
    release(flow, "flow", "first")
    assert read_lease(flow, "flow").holder is None
    assert acquire(flow, "flow", "second", 60)


def test_a_standby_that_is_told_to_stop_no_longer_stands_by(flow):
    acquire(flow, "flow", "first", 60)
    with pytest.raises(WaitInterrupted):
        wait_for_lease(flow, "flow", "second", 8, lambda _seconds: True)
    state = read_lease(flow, "flow")
    assert (state.holder, state.standbys) == ("first", [])


def test_renewing_keeps_the_time_it_was_taken(flow):
    acquire(flow, "flow", "first", 1)
    taken = read_lease(flow, "flow").acquired_at
    acquire(flow, "flow", "first", 60)
    state = read_lease(flow, "flow")
    assert state.acquired_at == taken
    assert state.remaining_seconds > 50
