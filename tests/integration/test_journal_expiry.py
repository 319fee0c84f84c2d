"""Journals that expire: the past since then is kept, events always, and verification goes on."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from connectors.postgres.connections import connect
from connectors.postgres.retention import expire_journals, list_reconciliations
from connectors.postgres.snapshots import save_snapshot, to_column
from connectors.postgres.store import PostgresStore
from connectors.postgres.streams import claim_stream
from deploy.replaying import replay
from deploy.verification.run import verify
from domain.replay import AsOf, PastNotKept, show_state
from domain.snapshots import FORMAT, snapshot
from flows.surroundings import Surroundings, rebuild
from projections import checkpoints
from projections.catalog import READ_MODELS
from projections.feed import Feed
from tests.integration.pasts import TOPIC, store_past
from tests.measuring import measuring

SEEDS = range(4)
BEGAN = datetime(2026, 1, 5, tzinfo=UTC)
EVENTS = (
    "SELECT last_position, stream_id, base_version, events, metadata FROM event_store ORDER BY 1"
)


@pytest.fixture
def flow(database):
    with connect(database.url, "flow") as conn:
        yield conn


@pytest.fixture
def operator(database):
    with connect(database.url, "operator") as conn:
        yield conn


@pytest.fixture
def owner(database):
    with database.connect(autocommit=True) as conn:
        yield conn


def store(flow, owner, seed, **options):
    """Store a past whose batches are dated one minute each, by version."""
    past = store_past(flow, seed, **options)
    owner.execute(
        "UPDATE event_store SET created_at = %s::timestamptz + base_version * interval '1 minute'",
        (BEGAN,),
    )
    return past


def expire(operator, owner, version, **options):
    """Let journals up to the batch that ends at a version go."""
    (at,) = owner.execute(
        "SELECT created_at FROM event_store WHERE base_version + event_count = %s", (version,)
    ).fetchone()
    return expire_journals(operator, "acme", "orders", at, **options)


def feed(database):
    """Bring the read models up to the head of the log."""
    names = [model.name for model in READ_MODELS]
    with (
        connect(database.url, "projections") as reader,
        connect(database.url, "projections") as writer,
        Feed(reader, writer) as feed,
    ):
        checkpoints.read(writer, names)
        feed.catch_up(READ_MODELS, 0)


CHANGED_DAYS = {
    "a day": (
        "UPDATE control_totals SET exception_count = exception_count + 1 WHERE accepted_count > 0",
        r"control_totals shows \d+ 2026-.* exception, the log has",
    ),
    "accepted moved to another day": (
        "UPDATE control_totals SET day = day + 30 WHERE accepted_count > 0",
        r"control_totals shows 0 2026-01-.* accepted, the log has",
    ),
    "a statement's text": (
        "UPDATE period_statements SET statement = replace(statement, '\"count\":1', '\"count\":2')",
        "period_statements: the statement of .* is not the text that was hashed",
    ),
    "a statement gone": (
        (
            "DELETE FROM period_statements WHERE day = (SELECT day FROM period_statements "
            "ORDER BY day OFFSET 1 LIMIT 1)"
        ),
        "period_statements: the statement of .* does not follow the one before it",
    ),
}


@pytest.mark.parametrize("name", CHANGED_DAYS)
def test_a_changed_day_or_statement_is_named(database, flow, operator, owner, name):
    store(flow, owner, 1, days=7)
    feed(database)
    assert verified(operator).differences == []
    statement, problem = CHANGED_DAYS[name]
    assert owner.execute(statement).rowcount
    found = verified(operator).differences
    assert any(re.search(problem, one.problem) for one in found), [one.problem for one in found]
    assert all("rebuild control_totals" in one.hint for one in found)


def verified(operator):
    return verify(operator, [TOPIC, "settler.transactions.target"], None)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_kept_replays_to_the_same_bytes(flow, operator, owner, seed):
    past = store(flow, owner, seed)
    events = owner.execute(EVENTS).fetchall()
    before = {
        version: json.dumps(replay(operator, "acme", "orders", AsOf(position=version)))
        for version in past.shown
    }
    cut = past.days[1]
    gone = expire(operator, owner, cut)
    assert (gone.stream_id, gone.version, gone.position) == ("acme/orders", cut, cut)
    assert gone.journals > 0 < gone.journal_bytes
    assert owner.execute(EVENTS).fetchall() == events, "events are never deleted"
    left = "SELECT count(*) FROM event_store WHERE journal IS NOT NULL AND base_version < %s"
    assert owner.execute(left, (cut,)).fetchone() == (0,)
    for version, shown in before.items():
        moment = AsOf(position=version)
        if version < cut:
            with pytest.raises(PastNotKept, match=f"up to position {cut} have expired. The oldest"):
                replay(operator, "acme", "orders", moment)
        else:
            assert json.dumps(replay(operator, "acme", "orders", moment)) == shown, version
    again = expire(operator, owner, cut)
    assert (again.version, again.journals) == (cut, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_verification_holds_and_says_what_it_could_not_count_again(
    database, flow, operator, owner, seed
):
    past = store(flow, owner, seed, days=6)
    feed(database)
    whole = verified(operator)
    assert (whole.differences, whole.expired) == ([], {})
    assert not any(whole.read_models_behind.values())
    closed = owner.execute("SELECT count(*) FROM period_statements").fetchone()
    assert closed > (0,), "some days are closed"
    accepted = 0
    for version in (past.days[0], past.days[2], past.days[-1]):
        expire(operator, owner, version)
        after = verified(operator)
        assert after.differences == []
        assert after.streams == whole.streams, "the totals are those of before"
        assert after.expired["acme/orders"].version == version
        assert after.expired["acme/orders"].transactions > accepted
        accepted = after.expired["acme/orders"].transactions
    assert accepted == whole.streams["acme/orders"].accepted()


def test_a_flow_takes_hold_of_a_stream_whose_journals_are_gone(flow, operator, owner):
    past = store(flow, owner, 1, snapshot_days=())
    expire(operator, owner, past.days[2])
    held = claim_stream(flow, "acme/orders", "acme", "orders", create=False)
    assert held.snapshot_version == past.days[2]
    around = Surroundings(PostgresStore(lambda: flow), lambda: True, lambda: 0, lambda: 0.0)
    state, folded = rebuild(held, around)
    assert state is not None
    assert folded > 0
    assert show_state(state) == show_state(past.state)


def test_the_snapshot_that_stands_in_is_kept_beside_the_newest_two(flow, operator, owner):
    past = store(flow, owner, 2, snapshot_days=(0, 1, 2))
    expire(operator, owner, past.days[0])
    kept = "SELECT version FROM snapshots ORDER BY version"
    for version in past.days[1:]:
        save_snapshot(flow, "acme/orders", version, FORMAT, snapshot(past.state), past.fence)
    (first, *rest) = [version for (version,) in owner.execute(kept)]
    assert (first, rest) == (past.days[0], past.days[-2:])


def test_a_dry_run_changes_nothing(flow, operator, owner):
    past = store(flow, owner, 0)
    tables = ("event_store", "snapshots", "journal_expiries")
    rows = [owner.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]
    told = expire(operator, owner, past.days[1], dry_run=True)
    assert told.journals > 0
    assert rows == [
        owner.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables
    ]
    assert expire(operator, owner, past.days[1])[:4] == told[:4]
    assert list_reconciliations(operator, None) == [("acme", "orders")]
    early = expire_journals(operator, "acme", "orders", BEGAN - timedelta(days=1))
    assert (early.version, early.journals) == (past.days[1], 0), "what is gone stays gone"


@pytest.mark.parametrize("stop_before", [1, 2, 3])
def test_a_run_that_was_cut_off_is_finished_by_the_next(
    flow, operator, owner, monkeypatch, stop_before
):
    past = store(flow, owner, 3)
    monkeypatch.setattr("connectors.postgres.retention._JOURNALS_AT_ONCE", 3)
    steps = []

    def on_step(step):
        steps.append(step)
        if len(steps) == stop_before:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        expire(operator, owner, past.days[2], on_step=on_step)
    assert verified(operator).differences == []
    replay(operator, "acme", "orders", AsOf(position=past.days[2]))
    gone = expire(operator, owner, past.days[2])
    assert gone.journals > 0
    assert verified(operator).differences == []
    left = "SELECT count(*) FROM event_store WHERE journal IS NOT NULL AND base_version < %s"
    assert owner.execute(left, (past.days[2],)).fetchone() == (0,)


WRONG = {
    "snapshot gone": ("DELETE FROM snapshots WHERE version = %s", "is not there"),
    "snapshot damaged": (
        "UPDATE snapshots SET state = substr(state, 1, 100) WHERE version = %s",
        "cannot be read",
    ),
    "journal gone that has not expired": (
        "UPDATE event_store SET journal = NULL WHERE base_version >= %s",
        "the journal holds|never accepted|its journal holds",
    ),
    "count changed where the journal is gone": (
        """UPDATE event_store SET events = replace(events, '["TransactionsAccepted",[[0,"EUR",1,',
        '["TransactionsAccepted",[[0,"EUR",2,') WHERE base_version < %s""",
        "it holds .* open source transactions in EUR .* the events before it leave",
    ),
    "exception closed where the journal is gone": (
        """UPDATE event_store SET events = replace(events, '"ExceptionResolved",0',
        '"ExceptionResolved",1') WHERE base_version < %s""",
        "no exception is open|left its exception",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_made_wrong_is_named(flow, operator, owner, name):
    past = store(flow, owner, 0)
    expire(operator, owner, past.days[2])
    statement, problem = WRONG[name]
    assert owner.execute(statement, (past.days[2],)).rowcount
    found = verified(operator).differences
    assert found
    assert any(re.search(problem, one.problem) for one in found), [one.problem for one in found]


def test_a_snapshot_of_another_state_is_told(flow, operator, owner):
    past = store(flow, owner, 2)
    expire(operator, owner, past.days[-1])
    leg = next(one for one in past.state.book.open_legs() if one in past.state.book.exceptions)
    past.state.book.exceptions.pop(leg)
    leg.disposition = 0
    owner.execute(
        "UPDATE snapshots SET state = %s WHERE version = %s",
        (to_column(FORMAT, snapshot(past.state)), past.days[-1]),
    )
    (found,) = verified(operator).differences
    assert f"transaction {leg.transaction_id} is exception" in found.problem


def test_an_operator_can_take_journals_away_and_nothing_else_of_the_log(flow, operator, owner):
    store(flow, owner, 0, days=1)
    for statement in (
        "DELETE FROM event_store",
        "UPDATE event_store SET events = '[]'",
        "UPDATE event_store SET created_at = now()",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            operator.execute(statement)


def test_the_command_needs_to_know_how_long(database, flow, owner, operator):
    past = store(flow, owner, 0)
    environment = {
        "SETTLER_DATABASE_URL": database.url,
        "PATH": "/usr/bin:/bin",
        **measuring(),
    }

    def run(*options: str, **more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", "journal", "expire", *options],
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
        )

    refused = run()
    assert refused.returncode == 2
    assert "SETTLER_JOURNAL_DAYS" in refused.stderr
    told = run("--dry-run", "--json", SETTLER_JOURNAL_DAYS="30")
    assert told.returncode == 0, told.stderr
    (row,) = json.loads(told.stdout)
    assert (row["reconciliation"], row["version"]) == ("acme/orders", past.state.version)
    assert run("--days", "30").returncode == 0
    assert json.loads(run("--days", "30", "--json").stdout) == []
    assert verified(operator).differences == []
