"""`settler replay`: any kept moment of a reconciliation, the same bytes every time."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from connectors.postgres.connections import connect
from connectors.postgres.reading import read_head
from connectors.postgres.replaying import NothingThen, StillToCome
from deploy.replaying import ReplayDiffers, replay
from domain.replay import AsOf, AsOfInvalid, parse_as_of
from tests.integration.pasts import store_past
from tests.measuring import measuring

SEEDS = range(3)
# As the state was live; what else `replay` gives is told by the events.
OF_STATE = ("definition_version", "status", "newest", "open", "exceptions", "suggestions")


@pytest.fixture
def flow(database):
    with connect(database.url, "flow") as conn:
        yield conn


@pytest.fixture
def operator(database):
    with connect(database.url, "operator") as conn:
        yield conn


def bytes_of(operator, **options) -> bytes:
    return json.dumps(replay(operator, "acme", "orders", **options)).encode()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_commit_is_shown_as_it_was_live(flow, operator, seed):
    past = store_past(flow, seed)
    assert any(shown["exceptions"] for shown in past.shown.values())
    for version, shown in past.shown.items():
        found = replay(operator, "acme", "orders", AsOf(position=version))
        assert (found["version"], found["position"]) == (version, version)
        for name in OF_STATE:
            assert found[name] == shown[name], (version, name)


@pytest.mark.parametrize("seed", SEEDS)
def test_twice_and_with_or_without_snapshots_it_gives_identical_bytes(flow, operator, seed):
    past = store_past(flow, seed)
    head = read_head(operator)
    assert head == past.state.version
    for position in range(1, head + 1, 3):
        as_of = AsOf(position=position)
        found = replay(operator, "acme", "orders", as_of)
        version = min(one for one in past.shown if one >= position)
        assert found["version"] == version, "the batch the event is in, whole"
        once = json.dumps(found).encode()
        assert once == bytes_of(operator, as_of=as_of)
        assert once == bytes_of(operator, as_of=as_of, snapshots=False), position
    at_the_end = bytes_of(operator, as_of=AsOf(position=head))
    assert bytes_of(operator) == at_the_end


def test_an_instant_is_the_last_batch_stored_by_then(database, flow, operator):
    store_past(flow, 3)
    with database.connect(autocommit=True) as owner:
        owner.execute(
            "UPDATE event_store SET created_at = timestamptz '2026-01-05' + base_version * "
            "interval '1 minute'"
        )
        rows = owner.execute(
            "SELECT last_position, created_at FROM event_store ORDER BY last_position"
        ).fetchall()
    for position, stored_at in rows:
        whole = bytes_of(operator, as_of=AsOf(position=position))
        for late in (timedelta(), timedelta(microseconds=1), timedelta(seconds=59)):
            assert bytes_of(operator, as_of=AsOf(instant=stored_at + late)) == whole
    with pytest.raises(NothingThen, match="acme/orders has nothing at or before 2026-01-04T23:59"):
        replay(operator, "acme", "orders", AsOf(instant=rows[0][1] - timedelta(microseconds=1)))


def test_what_lies_ahead_or_was_never_there_is_refused(flow, operator):
    store_past(flow, 1, days=1)
    head = read_head(operator)
    with pytest.raises(StillToCome, match=f"the log ends at position {head}"):
        replay(operator, "acme", "orders", AsOf(position=head + 1))
    with pytest.raises(StillToCome, match="lies ahead: it is 20"):
        replay(operator, "acme", "orders", parse_as_of("2999-01-01T00:00:00Z"))
    with pytest.raises(NothingThen, match="acme/nothing has nothing"):
        replay(operator, "acme", "nothing")


@pytest.mark.parametrize("text", ["", "now", "-1", "2026-03-02", "2026-03-02T10:00:00", "1" * 19])
def test_only_positions_and_instants_are_moments(text):
    with pytest.raises(AsOfInvalid):
        parse_as_of(text)


def test_a_snapshot_that_lost_a_transaction_is_told(database, flow, operator):
    """The state and the events are two ways to one truth, and each is held against the other."""
    from connectors.postgres.snapshots import save_snapshot
    from domain.snapshots import FORMAT, snapshot

    past = store_past(flow, 2, snapshot_days=())
    leg = past.state.book.open_legs()[0]
    past.state.book.exceptions.pop(leg, None)
    del past.state.book.known[leg.side][leg.transaction_id]
    state = snapshot(past.state)
    assert save_snapshot(flow, past.state.stream_id, past.state.version, FORMAT, state, past.fence)
    with pytest.raises(ReplayDiffers, match=r"acme/orders, version \d+: \d+ .* in the state"):
        replay(operator, "acme", "orders")


def test_the_command_prints_the_same_bytes_twice(database, flow, operator):
    past = store_past(flow, 4)
    environment = {
        "SETTLER_DATABASE_URL": database.url,
        "PATH": "/usr/bin:/bin",
        **measuring(),
    }

    def run(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", "replay", "acme", "orders", *options],
            env=environment,
            capture_output=True,
            check=False,
        )

    position = str(past.days[1])
    first, second = (run("--as-of", position, "--json") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    found = json.loads(first.stdout)
    assert found == replay(operator, "acme", "orders", AsOf(position=past.days[1]))
    table = run("--as-of", position)
    assert table.returncode == 0
    assert b"definition_version" in table.stdout
    assert found["open"][0]["transaction_id"].encode() in table.stdout
    refused = run("--as-of", "yesterday")
    assert refused.returncode == 2
    assert b"neither a position nor an instant" in refused.stderr
    assert run("--as-of", "999999").returncode == 2
