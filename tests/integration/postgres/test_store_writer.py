"""The writer over a line that breaks: each flush is stored once, or the process is told to stop."""

import threading

import psycopg
import pytest
from structlog.testing import capture_logs

from connectors.postgres.connections import WaitInterrupted, connect
from connectors.postgres.errors import Fenced
from connectors.postgres.reading import find_gaps, read_batches
from connectors.postgres.store_writer import StoreWriter
from domain.event_batches import FORMAT, decode_events
from tests.integration.postgres.commits import claim, commit_of, letter, matched
from tests.integration.postgres.cutting_proxy import CommitCutter
from tests.integration.postgres.test_writing import wait_for_lock


@pytest.fixture
def cutter(database):
    with CommitCutter(database.server.port) as proxy:
        yield proxy


@pytest.fixture
def writer(database, cutter):
    url = database.url.replace(f":{database.server.port}/", f":{cutter.port}/")
    writer = StoreWriter(lambda: connect(url, "flow"))
    yield writer
    writer.close()


def count_letters(conn: psycopg.Connection) -> int:
    return conn.execute("SELECT count(*) FROM dead_letter_queue").fetchone()[0]


@pytest.mark.parametrize(("fate", "found"), [("before", "not_committed"), ("after", "committed")])
def test_a_commit_whose_answer_is_lost_is_stored_once(flow, writer, cutter, fate, found):
    held = claim(flow)
    writer.write([commit_of(0, 2, held.fence)], [])
    cutter.fate = fate
    with capture_logs() as logs:
        assert writer.write([commit_of(2, 3, held.fence)], [letter(1)]) == 5
    assert cutter.cuts == 1
    events = [entry["event"] for entry in logs]
    assert events == ["database.unavailable", "store.outcome_found", "database.available"]
    assert logs[1]["outcome"] == found
    assert [batch.event_count for batch in read_batches(flow, 0, 10)] == [2, 3]
    assert count_letters(flow) == 1
    assert writer.write([commit_of(5, 1, held.fence)], []) == 6
    assert find_gaps(flow) == []


def test_nobody_writes_what_the_release_before_cannot_read(flow, database, connect_as):
    """The migrations that come last say when; whoever writes by then does so once started anew."""
    view = "SELECT event_type, data FROM events ORDER BY global_position"
    flow.execute("UPDATE log_head SET batch_format = 1")
    shown = []
    held = claim(flow)
    writer = StoreWriter(lambda: connect(database.url, "flow"))
    writer.write([commit_of(0, 3, held.fence)], [])
    shown += connect_as("operator").execute(view).fetchall()
    flow.execute("UPDATE log_head SET batch_format = 9")
    writer.write([commit_of(3, 3, held.fence)], [])
    writer.close()
    writer = StoreWriter(lambda: connect(database.url, "flow"))
    writer.write([commit_of(6, 3, held.fence)], [])
    writer.close()
    batches = read_batches(flow, 0, 10)
    assert [batch.format for batch in batches] == [1, 1, FORMAT]
    read = [one for batch in batches for one in decode_events(batch.events, batch.format)]
    assert read == [matched(number) for number in range(9)]
    assert connect_as("operator").execute(view).fetchall()[:3] == shown


def test_a_commit_still_under_way_is_waited_for(flow, writer, cutter, database):
    """Asked too early the answer would be "not committed", and the repeat would look fenced."""
    held = claim(flow)
    cutter.fate = "held"
    positions = []
    thread = threading.Thread(
        target=lambda: positions.append(writer.write([commit_of(0, 2, held.fence)], []))
    )
    thread.start()
    assert cutter.cut_happened.wait(10)
    wait_for_lock(database)  # the writer asks what became of it, behind the old transaction
    cutter.release()
    thread.join(10)
    assert positions == [2]
    assert [batch.event_count for batch in read_batches(flow, 0, 10)] == [2]


def test_a_stream_taken_over_meanwhile_stops_the_writer(flow, writer, cutter):
    held = claim(flow)
    writer.write([commit_of(0, 1, held.fence)], [])
    cutter.fate = "before"
    heirs = []

    def wait(_seconds: float) -> bool:
        heirs.append(claim(flow))
        return False

    writer._wait = wait
    with pytest.raises(Fenced):
        writer.write([commit_of(1, 1, held.fence)], [])
    assert len(heirs) == 1
    assert [batch.event_count for batch in read_batches(flow, 0, 10)] == [1]


def test_it_waits_with_growing_delays_and_says_so(writer, database):
    delays = []

    def wait(seconds: float) -> bool:
        delays.append(seconds)
        return len(delays) == 8

    gone = StoreWriter(lambda: connect("postgresql://127.0.0.1:1/none", "flow"), wait)
    with capture_logs() as logs, pytest.raises(WaitInterrupted):
        gone.write([], [letter(1)])
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [entry["attempt"] for entry in logs] == list(range(1, 9))
    assert all("refused" in entry["error"] for entry in logs)


def test_a_killed_backend_costs_a_reconnect(flow, writer, database):
    held = claim(flow)
    writer.write([commit_of(0, 1, held.fence)], [])
    with database.connect(autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
            (flow.info.backend_pid,),
        )
    assert writer.write([commit_of(1, 1, held.fence)], []) == 2
    assert find_gaps(flow) == []


def test_a_mistake_is_not_waited_out(flow, writer):
    held = claim(flow)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        writer.write([commit_of(0, 1, held.fence, redriven=["not a uuid"])], [])
    assert writer.write([commit_of(0, 1, held.fence)], []) == 1
