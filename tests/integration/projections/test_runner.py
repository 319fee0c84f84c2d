"""The process: wakes, waits, stops, and survives the database going away."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import psycopg
from prometheus_client import REGISTRY

from connectors.settings import PREFIX
from domain import events as ev
from projections.log import _SQL as LOG_SQL
from tests.integration.projections.conftest import NAMES
from tests.unit.projections.histories import Row, history

NOW = datetime(2026, 1, 6, tzinfo=UTC)
MATCH = ("one_to_one", 1)


def matched(n: int) -> ev.RecordMatched:
    return ev.RecordMatched("m", *MATCH, [f"s{n}"], (f"t{n}",), "EUR", 5, 7, n)


def suggested(n: int) -> ev.MatchSuggested:
    return ev.MatchSuggested("s", *MATCH, [f"s{n}"], (f"t{n}",), "EUR", 5, 7, n, "why")


def opened(n: int) -> list[ev.Event]:
    unmatched = ev.RecordUnmatched(
        0, f"x{n}", "missing_in_target", "low", 5, "EUR", 0, None, "no partner", [], 1
    )
    closed = ev.ExceptionResolved(0, f"x{n}", "write_off", None)
    return [unmatched, closed] if n % 2 else [unmatched]


def test_it_follows_the_log_and_stops_when_told(world):
    rows = history(11, steps=90)[0]
    with world.running() as running:
        for begin in range(0, len(rows), 30):
            head = world.store(rows[begin : begin + 30])
            world.wait_for(head)
        assert running.end() == 0
    by_runner = world.dump()
    world.empty()
    world.feed()
    assert world.dump() == by_runner
    for name in NAMES:
        labels = {"projection": name}
        assert REGISTRY.get_sample_value("settler_projection_position", labels) == head
        assert REGISTRY.get_sample_value("settler_projection_lag_events", labels) is not None
        assert REGISTRY.get_sample_value("settler_projection_lag_seconds", labels) is not None


def test_days_that_do_not_add_up_raise_the_metric_and_are_told(world, monkeypatch, capsys):
    monkeypatch.setattr("projections.runner.DIFFERENCES_SECONDS", 0.0)

    def wait_for_metric(*, is_raised: bool) -> None:
        for _ in range(200):
            if (REGISTRY.get_sample_value("settler_control_totals_differences") > 0) == is_raised:
                return
            assert not running.stop.wait(0.05)
        raise AssertionError(f"the metric was not {'raised' if is_raised else 'lowered'}")

    with world.running() as running:
        world.wait_for(world.store(history(4, steps=60)[0]))
        change = (
            "UPDATE control_totals SET matched_count = matched_count + %s WHERE currency = 'EUR'"
        )
        assert world.owner.execute(change, (1,)).rowcount
        wait_for_metric(is_raised=True)
        world.owner.execute(change, (-1,))
        wait_for_metric(is_raised=False)
        assert running.end() == 0
    said = capsys.readouterr()
    assert "control_totals_differ" in said.out + said.err


def test_a_database_that_cuts_the_connections_is_waited_for(world):
    rows = history(12, steps=90)[0]
    with world.running() as running:
        world.wait_for(world.store(rows[:30]))
        for begin in (30, 60):
            cut = world.owner.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database()"
                " AND application_name IN ('settler-projections', 'settler-projections-read')"
            ).fetchone()
            assert cut == (2,)
            world.wait_for(world.store(rows[begin : begin + 30]))
        assert running.end() == 0
    by_runner = world.dump()
    world.empty()
    world.feed()
    assert world.dump() == by_runner


def test_a_second_one_stands_by_and_takes_over(world):
    rows = history(13)[0]
    half = len(rows) // 2
    with world.running() as first, world.running() as second:
        world.wait_for(world.store(rows[:half]))
        assert first.thread.is_alive()
        assert second.thread.is_alive()
        # One of the two held the lock; whichever ends, the other carries on.
        assert first.end() == 0
        world.wait_for(world.store(rows[half:]))
        assert second.end() == 0


def test_a_moved_checkpoint_ends_it_clearly(world, capsys):
    rows = history(14)[0]
    half = len(rows) // 2
    with world.running() as running:
        head = world.store(rows[:half])
        world.wait_for(head)
        world.owner.execute(
            "UPDATE projection_checkpoints SET position = position - 1 WHERE name = 'matches'"
        )
        before = world.dump()
        world.store(rows[half:])
        running.thread.join(20)
        assert running.result == [1]
    assert world.dump() == before
    said = capsys.readouterr()
    assert "another process runs it" in said.out + said.err


def test_sigterm_ends_the_process_with_0(world):
    head = world.store(history(15)[0])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {
        "SETTLER_DATABASE_URL": world.settings.database_url,
        "SETTLER_METRICS_PORT": "0",
    }
    program = "import sys; from projections import runner; from connectors.settings import Settings"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{program}; sys.exit(runner.main(Settings.load()))"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        world.wait_for(head)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "projections.ended" in said


def test_reading_the_log_goes_through_its_key(world):
    world.store(history(16, steps=200)[0])
    world.owner.execute("ANALYZE event_store")
    world.reader.execute("SET enable_seqscan = off")
    asked = {"after": 5, "until": 2**62, "events_max": 20, "bytes_max": 2**24}
    plan = "\n".join(
        line for (line,) in world.reader.execute(b"EXPLAIN " + LOG_SQL["read_log"], asked)
    )
    assert "event_store_pkey" in plan
    assert "Seq Scan" not in plan


def test_lists_are_read_through_an_index_in_order(world):
    rows = [
        Row(f"t-{n % 3}", "r-1", n, [matched(n), suggested(n), *opened(n)], NOW, b"")
        for n in range(300)
    ]
    world.store(rows)
    world.feed()
    world.owner.execute("ANALYZE")
    lists = {
        "exceptions_status_idx": "exceptions WHERE tenant_id = 't-1' AND reconciliation_id = 'r-1'"
        " AND status = 'resolved' AND position < 900",
        "exceptions_position_idx": "exceptions WHERE tenant_id = 't-1' AND position < 900",
        "matches_position_idx": "matches WHERE position < 900 AND stream_hash ="
        " hashtextextended('r-1', hashtextextended('t-1', 0))",
        "matches_suggested_idx": "matches WHERE tenant_id = 't-1' AND status = 'suggested'"
        " AND position < 900",
    }
    with psycopg.connect(world.settings.database_url, autocommit=True) as reader:
        reader.execute("SET ROLE settler_api")
        reader.execute("SET settler.tenant_id = 't-1'")
        for index, tail in lists.items():
            query = f"EXPLAIN SELECT * FROM {tail} ORDER BY position DESC LIMIT 20"
            plan = "\n".join(line for (line,) in reader.execute(query))
            assert index in plan, plan
            assert "Sort" not in plan, plan
