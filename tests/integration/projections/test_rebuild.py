"""A rebuild gives the same rows, beside readers and the runner, through any crash."""

import threading

import psycopg
import pytest

from projections import rebuild as rebuilding
from projections.catalog import UnknownReadModel
from projections.rebuild import RebuildRunning, SwitchBlocked, rebuild
from tests.integration.projections.conftest import NAMES, TABLES
from tests.unit.projections.histories import history

# What a client or the database itself can tell apart about a table.
CATALOG = """
SELECT c.relname, c.relkind, c.reloptions, c.relrowsecurity, c.relforcerowsecurity,
       (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(c.relacl) AS acl),
       c.relowner::regrole::text, obj_description(c.oid),
       (SELECT array_agg((attname, atttypid, attnotnull, attgenerated, attstorage,
                          col_description(c.oid, attnum), pg_get_expr(adbin, adrelid))::text
                         ORDER BY attname)
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
       (SELECT array_agg(definition ORDER BY definition)
        FROM pg_index, pg_get_indexdef(indexrelid) AS definition WHERE indrelid = c.oid),
       (SELECT array_agg(conname || pg_get_constraintdef(oid) ORDER BY conname) FROM pg_constraint
        WHERE conrelid = c.oid),
       (SELECT array_agg((polname, polcmd, pg_get_expr(polqual, polrelid))::text) FROM pg_policy
        WHERE polrelid = c.oid)
FROM pg_class AS c WHERE c.relname = ANY (%s) AND c.relnamespace = 'public'::regnamespace
ORDER BY 1
"""


class Crash(Exception):
    """The process dies here."""


def catalog(world):
    return world.owner.execute(CATALOG, (TABLES,)).fetchall()


def copies_left(world) -> int:
    (count,) = world.owner.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'settler_rebuild'::regnamespace"
    ).fetchone()
    return count


def test_all_rows_deleted_come_back_identical(full_world):
    head = full_world.feed()
    before = full_world.dump()
    shape = catalog(full_world)
    assert all(len(rows) > 0 for rows in before.values())
    for table in TABLES:
        full_world.owner.execute(f"DELETE FROM {table}")
    told = []
    done = rebuild(full_world.settings, on_progress=lambda *progress: told.append(progress))
    assert (done.names, done.position) == (NAMES, head)
    assert told[-1] == (head, head)
    assert full_world.dump() == before
    assert catalog(full_world) == shape
    assert copies_left(full_world) == 0


def test_lost_checkpoints_come_back_with_the_rows(full_world):
    full_world.feed()
    before = full_world.dump()
    full_world.empty()
    rebuild(full_world.settings)
    assert full_world.dump() == before


def test_one_is_rebuilt_with_what_it_needs(full_world):
    full_world.feed()
    before = full_world.dump()
    full_world.owner.execute("DELETE FROM reconciliation_summary")
    done = rebuild(full_world.settings, ["reconciliation_summary"])
    assert done.names == ["exceptions", "reconciliation_summary"]
    assert full_world.dump() == before
    with pytest.raises(UnknownReadModel):
        rebuild(full_world.settings, ["summaries"])


def test_a_crash_at_any_step_changes_nothing(full_world):
    full_world.feed()
    before = full_world.dump()
    steps: list[str] = []
    rebuild(full_world.settings, on_step=steps.append)
    assert {"create", "analyze", "hold", "switch", "commit_switch", "switched"} <= set(steps)
    for at in range(len(steps)):
        left = iter(range(at + 1))

        def crash(_step: str, left=left, at=at) -> None:
            if next(left) == at:
                raise Crash

        with pytest.raises(Crash):
            rebuild(full_world.settings, on_step=crash)
        live = {name: rows for name, rows in full_world.dump().items() if name != "checkpoints"}
        assert live == {name: before[name] for name in TABLES}, steps[at]
    rebuild(full_world.settings)
    assert full_world.dump() == before


def test_the_runner_goes_on_meanwhile_and_after(world):
    rows = history(5, steps=160)[0]
    third = len(rows) // 3
    with world.running() as running:
        world.wait_for(world.store(rows[:third]))

        def grow(step: str) -> None:
            if step == "analyze":
                world.wait_for(world.store(rows[third : 2 * third]))

        rebuild(world.settings, on_step=grow)
        world.wait_for(world.store(rows[2 * third :]))
        assert running.end() == 0
    after = world.dump()
    world.empty()
    world.feed()
    assert world.dump() == after


def test_readers_go_on_and_never_see_less(full_world):
    head = full_world.feed()
    (count,) = full_world.owner.execute("SELECT count(*) FROM matches").fetchone()
    done = threading.Event()
    seen: list[tuple[int, int]] = []

    def read() -> None:
        with psycopg.connect(full_world.settings.database_url, autocommit=True) as reader:
            while not done.is_set():
                seen.append(
                    reader.execute(
                        "SELECT count(*), (SELECT max(position) FROM reconciliation_summary)"
                        " FROM matches",
                        prepare=True,
                    ).fetchone()
                )

    thread = threading.Thread(target=read)
    thread.start()
    rebuild(full_world.settings)
    done.set()
    thread.join(10)
    assert set(seen) == {(count, head)}


def test_a_long_reader_makes_it_give_up_and_change_nothing(full_world, monkeypatch):
    full_world.feed()
    before = full_world.dump()
    monkeypatch.setattr(rebuilding, "SWITCH_ATTEMPTS", 2)
    with psycopg.connect(full_world.settings.database_url) as reader:
        reader.execute("SELECT count(*) FROM matches")
        with pytest.raises(SwitchBlocked, match="pg_stat_activity"):
            rebuild(full_world.settings)
        reader.rollback()
    assert {name: full_world.dump()[name] for name in TABLES} == {
        name: before[name] for name in TABLES
    }
    rebuild(full_world.settings)
    assert full_world.dump() == before


def test_two_at_once_are_refused(full_world):
    def second(step: str) -> None:
        if step == "analyze":
            with pytest.raises(RebuildRunning):
                rebuild(full_world.settings)

    rebuild(full_world.settings, on_step=second)
