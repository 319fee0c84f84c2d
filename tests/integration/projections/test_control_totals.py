"""Control totals: the days add up to where everything stands, and a closed day never changes."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
import pytest

from domain import events as ev
from domain.statements import (
    PLACES,
    ChainBroken,
    Statement,
    check_chain,
    closing_of,
    read_content,
    write_html,
)
from projections.runner import count_differences
from tests.measuring import measuring
from tests.unit.projections.histories import Row, history

STATEMENTS = (
    "SELECT day::text, statement, hash, previous_hash FROM period_statements"
    " WHERE (tenant_id, reconciliation_id) = (%s, %s) ORDER BY period_statements.day"
)
TABLES = ("control_totals", "period_calendars", "period_statements")
DAYS = (
    "SELECT t.* FROM control_totals AS t JOIN period_calendars AS c"
    " USING (tenant_id, reconciliation_id) WHERE t.day <= c.closed_day ORDER BY t::text"
)
AT = datetime(2026, 1, 9, 3, 0, tzinfo=UTC)
MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z
DAY_MS = 86_400_000
SOME_ID = "00000000-0000-0000-0000-000000000001"
FIRST = 20_458  # 2026-01-05


def chain(world, *scope: str) -> list[Statement]:
    return [Statement(*row) for row in world.owner.execute(STATEMENTS, scope)]


@pytest.mark.parametrize("seed", range(6))
def test_days_add_up_and_statements_follow_on(world, seed):
    rows, piles = history(seed, steps=90)
    world.store(rows)
    world.feed()
    assert count_differences(world.reader) == 0
    written = 0
    for pile in piles:
        statements = chain(world, pile.tenant, pile.name)
        written += len(statements)
        check_chain(statements)
    assert written > 3
    summed = world.owner.execute(
        "SELECT sum(rejected_count), sum(redelivered_count) FROM control_totals"
    ).fetchone()
    told = world.owner.execute(
        "SELECT sum(rejected), sum(redelivered) FROM reconciliation_summary"
    ).fetchone()
    assert summed == told


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_any_size_and_a_rebuild_give_the_same_rows(world, seed):
    world.store(history(seed, steps=60)[0])
    world.feed(events_max=1)
    one_by_one = {table: world.rows(table) for table in TABLES}
    assert all(one_by_one.values())
    for events_max in (7, 10_000):
        world.empty()
        world.feed(events_max=events_max)
        assert {table: world.rows(table) for table in TABLES} == one_by_one


@pytest.mark.parametrize("seed", range(3))
def test_a_closed_day_never_changes(world, seed):
    for row in history(seed, steps=80)[0]:
        before = world.owner.execute(DAYS).fetchall()
        statements = world.rows("period_statements")
        world.store([row])
        world.feed()
        assert set(before) <= set(world.owner.execute(DAYS).fetchall())
        assert set(statements) <= set(world.rows("period_statements"))


def accepted(*days: tuple[int, str, int, int, int], rejected: int = 0) -> ev.TransactionsAccepted:
    counts: dict[tuple[int, str], list[int]] = {}
    for side, currency, _, count, minor in days:
        counted = counts.setdefault((side, currency), [0, 0])
        counted[0] += count
        counted[1] += minor
    return ev.TransactionsAccepted(
        [(*key, *counted) for key, counted in sorted(counts.items())],
        {"settler.transactions.source/0": (0, 1)},
        0,
        rejected,
        list(days),
    )


def matched(name: str, newest_ms: int, minor: int) -> ev.RecordMatched:
    return ev.RecordMatched(
        "r", "one_to_one", 1, (f"s{name}",), (f"t{name}",), "EUR", minor, minor, newest_ms
    )


def posted(world) -> dict[tuple[str, str, str], dict[str, int]]:
    """What was posted to each day, side and currency, but what is nothing."""
    names = [
        column.name for column in world.owner.execute("SELECT * FROM control_totals").description
    ]
    found = {}
    for row in world.rows("control_totals"):
        of = dict(zip(names, row, strict=True))
        found[str(of["day"]), of["side"], of["currency"]] = {
            name: int(value)
            for name, value in of.items()
            if name.endswith(("_count", "_minor")) and value
        }
    return found


def test_each_fact_has_its_day_and_what_comes_late_goes_to_the_first_open(world):
    definition = {"name": "Orders", "time_zone": "Europe/Vienna"}
    events = [
        ev.ReconciliationDefined(1, definition, "c"),
        # two of the 5th and one of the 6th, a partner for each of the 5th
        accepted((0, "EUR", FIRST, 2, 300), (0, "EUR", FIRST + 1, 1, 50)),
        accepted((1, "EUR", FIRST, 1, 100), (1, "EUR", FIRST + 1, 1, 200), rejected=1),
        # 22:59 UTC is still the 5th in Vienna, 23:00 is the 6th
        matched("1", MS + 23 * 3_600_000 - 60_000, 100),
        matched("2", MS + 23 * 3_600_000, 200),
        ev.RecordUnmatched(
            0, "s3", "missing_in_target", "low", 50, "EUR", MS + 30 * 3_600_000, None, "", [], 1
        ),
        ev.PeriodClosed("2026-01-05"),
        # late: of the 5th, which is closed; and a match of the 5th that is undone
        accepted((1, "EUR", FIRST, 1, 50)),
        ev.MatchReversed(SOME_ID, "r", ("s1",), ("t1",), "EUR", 100, 100, None, "c2"),
        matched("3", MS + 30 * 3_600_000, 50),
        ev.ExceptionResolved(0, "s3", "late_match", SOME_ID),
    ]  # fmt: skip
    world.store([Row("acme", "orders", 0, events, AT, b"")])
    world.feed()
    assert posted(world) == {
        ("2026-01-05", "source", "EUR"): {
            "accepted_count": 2, "accepted_minor": 300, "matched_count": 1, "matched_minor": 100,
        },
        ("2026-01-05", "target", "EUR"): {
            "accepted_count": 1, "accepted_minor": 100, "matched_count": 1, "matched_minor": 100,
        },
        ("2026-01-06", "source", "EUR"): {
            "accepted_count": 1, "accepted_minor": 50, "matched_count": 1, "matched_minor": 150,
        },
        ("2026-01-06", "target", "EUR"): {
            "accepted_count": 2, "accepted_minor": 250, "matched_count": 1, "matched_minor": 150,
        },
        ("2026-01-06", "source", "XXX"): {"rejected_count": 1},
    }  # fmt: skip
    (statement,) = chain(world, "acme", "orders")
    content = read_content(statement.text)
    assert (content["day"], content["time_zone"], content["position"]) == (
        "2026-01-05", "Europe/Vienna", 7,
    )  # fmt: skip
    assert closing_of(statement)["source", "EUR"]["pending"] == (1, 200)
    assert content["records"] == [
        {"side": "source", "consumed": 2, "accepted": 2, "redelivered": 0, "rejected": 0},
        {"side": "target", "consumed": 1, "accepted": 1, "redelivered": 0, "rejected": 0},
    ]
    world.store([Row("acme", "orders", 11, [ev.PeriodClosed("2026-01-08")], AT, b"")])
    world.feed()
    first, *others = chain(world, "acme", "orders")
    assert first == statement
    assert [one.day for one in others] == ["2026-01-06", "2026-01-08"], "the 7th had nothing"
    last = closing_of(others[-1])
    assert last["source", "EUR"]["pending"] == last["target", "EUR"]["pending"] == (1, 100)
    assert [total["movements"]["accepted"]["count"] for total in
            read_content(others[-1].text)["totals"]] == [0, 0]  # fmt: skip


BROKEN = {
    "text": lambda one: one._replace(text=one.text.replace('"position":', '"position":1', 1)),
    "hash": lambda one: one._replace(hash="0" * 64),
    "previous": lambda one: one._replace(previous_hash="0" * 64),
    "day": lambda one: one._replace(day="2026-02-01"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_changed_statement_breaks_the_chain(world, what):
    world.store(history(1, steps=90)[0])
    world.feed()
    statements = max(
        (chain(world, tenant, name) for tenant, name, *_ in world.rows("period_calendars")),
        key=len,
    )
    check_chain(statements)
    for place in range(1, len(statements)):
        with pytest.raises(ChainBroken):
            check_chain(
                [*statements[:place], BROKEN[what](statements[place]), *statements[place + 1 :]]
            )
    if len(statements) > 2:
        with pytest.raises(ChainBroken, match="does not follow"):
            check_chain([statements[0], *statements[2:]])


def test_a_page_shows_every_figure_and_escapes_what_it_shows(world):
    world.store(history(2, steps=60, nul=False)[0])
    world.feed()
    for tenant, name, *_ in world.rows("period_calendars"):
        for one in chain(world, tenant, name):
            page = write_html(one)
            assert one.hash in page
            assert all(f"<td>{place}</td>" in page or not read_content(one.text)["totals"]
                       for place in PLACES)  # fmt: skip
            hostile = msgspec.json.encode(
                read_content(one.text) | {"reconciliation_id": "<script>alert(1)</script>"}
            ).decode()
            assert "<script>" not in write_html(one._replace(text=hostile))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE control_totals SET matched_count = matched_count + 1 WHERE matched_count > 0",
        "DELETE FROM control_totals WHERE accepted_count > 0",
        "UPDATE reconciliation_totals SET accepted_minor = accepted_minor - 1",
    ],
)
def test_any_difference_is_counted(world, statement):
    world.store(history(4, steps=60)[0])
    world.feed()
    assert count_differences(world.reader) == 0
    assert world.owner.execute(statement).rowcount
    assert count_differences(world.reader) > 0


def test_the_command_prints_the_text_that_was_hashed_and_tells_a_broken_chain(world):
    world.store(history(1, steps=90)[0])
    world.feed()
    tenant, name, *_ = world.rows("period_statements")[0]
    statements = chain(world, tenant, name)

    def run(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", "statement", tenant, name, *options],
            env={
                "SETTLER_DATABASE_URL": world.settings.database_url,
                "PATH": "/usr/bin:/bin",
                **measuring(),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    listed = run("--json")
    assert listed.returncode == 0, listed.stderr
    assert [one["hash"] for one in json.loads(listed.stdout)] == [one.hash for one in statements]
    printed = run("--day", statements[-1].day)
    assert sha256(printed.stdout.encode()).hexdigest() == statements[-1].hash
    assert run("--day", statements[-1].day, "--html").stdout == write_html(statements[-1])
    assert run("--day", "1999-01-01").returncode == 2
    world.owner.execute("UPDATE period_statements SET hash = repeat('0', 64)")
    broken = run()
    assert broken.returncode == 1
    assert "is not the text that was hashed" in broken.stderr
