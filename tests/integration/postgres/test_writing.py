"""One flush, one transaction: versions, fences, positions, and what rides along."""

import threading
import uuid

import msgspec
import psycopg
import pytest

from connectors.postgres.connections import connect
from connectors.postgres.errors import Fenced
from connectors.postgres.inbox import Command, read_command_state, submit
from connectors.postgres.journal import decode_journal
from connectors.postgres.reading import find_gaps, read_batches, read_head, read_stream
from connectors.postgres.records import CommandOutcome, dead_letter_id
from connectors.postgres.streams import due_streams
from connectors.postgres.writing import commit_flush, commit_outcome
from domain.event_batches import decode_events
from tests.integration.postgres.commits import claim, commit_of, letter, matched


def test_the_commits_of_a_stream_share_a_row_that_reads_back_whole(flow):
    held = claim(flow)
    first = commit_of(0, 3, held.fence, journal=[b"a", b"b"])
    second = commit_of(3, 2, held.fence, journal=[b"c"], wake_at_us=1_700_000_000_000_001)
    assert commit_flush(flow, [first, second], []) == 5

    (batch,) = read_batches(flow, 0, 10)
    assert (batch.first_position, batch.last_position, batch.base_version) == (1, 5, 0)
    assert decode_events(batch.events, batch.format) == [matched(i) for i in range(5)]
    assert decode_journal(batch.journal) == [b"a", b"b", b"c"]
    assert batch.metadata == {"correlation_id": "c-0"}

    again = claim(flow)
    assert (again.version, again.fence, again.definition_version) == (5, held.fence + 1, 1)
    assert again.next_offset == {"settler.transactions.source/0": 5}
    assert again.batches == [batch]
    assert due_streams(flow, 1_700_000_000_000_000, 10) == []
    assert [stream_id for stream_id, _ in due_streams(flow, 1_700_000_000_000_001, 10)] == [
        "acme/shop"
    ]


def test_the_outcome_of_a_command_is_a_row_of_its_own(flow):
    held = claim(flow)
    commits = [
        commit_of(0, 1, held.fence),
        commit_of(1, 1, held.fence, metadata={"correlation_id": "x", "causation_id": "cmd"}),
        commit_of(2, 1, held.fence),
        commit_of(3, 1, held.fence),
    ]
    commit_flush(flow, commits, [])
    rows = [(b.base_version, b.event_count) for b in read_batches(flow, 0, 10)]
    assert rows == [(0, 1), (1, 1), (2, 2)]


def test_many_streams_move_together_or_not_at_all(flow):
    names = [f"r-{i}" for i in range(5)]
    holds = {name: claim(flow, "acme", name) for name in names}
    claim(flow, "acme", "r-3")  # someone else takes one over
    commits = [commit_of(0, 2, holds[name].fence, reconciliation=name) for name in names]
    with pytest.raises(Fenced) as raised:
        commit_flush(flow, commits, [letter(1)])
    assert raised.value.stream_ids == ["acme/r-3"]
    assert "acme/r-3" in str(raised.value)
    assert read_head(flow) == 0
    assert flow.execute("SELECT count(*) FROM dead_letter_queue").fetchone() == (0,)
    assert {row[0] for row in flow.execute("SELECT version FROM streams")} == {0}

    without = [commit for commit in commits if commit.reconciliation_id != "r-3"]
    assert commit_flush(flow, without, []) == 8
    assert find_gaps(flow) == []


def test_a_wrong_version_is_fenced_and_an_unknown_stream_too(flow):
    held = claim(flow)
    commit_flush(flow, [commit_of(0, 2, held.fence)], [])
    for commit in (
        commit_of(0, 2, held.fence),
        commit_of(3, 1, held.fence),
        commit_of(0, 1, 1, reconciliation="nowhere"),
    ):
        with pytest.raises(Fenced):
            commit_flush(flow, [commit], [])
    assert read_head(flow) == 2


def test_the_unique_key_is_the_last_line(flow, database):
    held = claim(flow)
    commit_flush(flow, [commit_of(0, 2, held.fence)], [])
    with database.connect(autocommit=True) as owner:
        owner.execute("UPDATE streams SET version = 0")  # what no code of ours would do
    with pytest.raises(Fenced) as raised:
        commit_flush(flow, [commit_of(0, 1, held.fence)], [])
    assert isinstance(raised.value.__cause__, psycopg.errors.UniqueViolation)
    assert read_head(flow) == 2


def test_offsets_move_without_events(flow):
    held = claim(flow)
    commit = commit_of(0, 0, held.fence, next_offset={"t/1": 7})
    assert commit_flush(flow, [commit], []) == 0
    assert commit_flush(flow, [commit], []) == 0
    assert claim(flow).next_offset == {"t/1": 7}


def test_dead_letters_are_kept_once_and_say_their_newest_reason(flow):
    held = claim(flow)
    commit_flush(flow, [commit_of(0, 1, held.fence, rejections=[letter(2)])], [letter(1)])
    commit_flush(flow, [], [letter(1, message="another"), letter(2), letter(3)])
    rows = flow.execute('SELECT "offset", message FROM dead_letter_queue ORDER BY 1').fetchall()
    assert rows == [(i, "The record is not JSON.") for i in (1, 2, 3)]
    flow.execute("UPDATE dead_letter_queue SET published_at = now()")
    commit_flush(flow, [], [letter(3, code="too_old", message="It is too old.")])
    rows = flow.execute("SELECT code, message FROM dead_letter_queue WHERE published_at IS NULL")
    assert rows.fetchall() == [("too_old", "It is too old.")]


def test_no_bad_record_is_too_bad_to_be_kept(flow):
    commit_flush(
        flow,
        [],
        [
            letter(1, tenant_id="x\x00", transaction_id="\ud800\x00" * 5_000, message="\x00"),
            letter(2, tenant_id="y" * 10_000, reconciliation_id="UPPER", raw=bytes(range(256))),
            letter(3, tenant_id=None, reconciliation_id=None, transaction_id=None),
        ],
    )
    rows = flow.execute(
        "SELECT tenant_id, reconciliation_id, length(transaction_id), raw FROM dead_letter_queue"
        ' ORDER BY "offset"'
    ).fetchall()
    assert rows == [
        (None, "shop", 128, b"{"),
        (None, None, 3, bytes(range(256))),
        (None, None, None, b"{"),
    ]


def test_the_id_of_a_dead_letter_is_its_place(flow):
    commit_flush(flow, [], [letter(41)])
    row = flow.execute("SELECT dead_letter_id::text FROM dead_letter_queue").fetchone()
    assert row == (dead_letter_id("settler.transactions.source", 0, 41),)


def test_redriven_letters_and_decided_commands_ride_along(flow, connect_as):
    held = claim(flow)
    commit_flush(flow, [], [letter(1)])
    command = Command(str(uuid.uuid4()), "acme", "shop", "define", {"a": 1}, None, "corr")
    with connect_as("api") as api, api.transaction():
        api.execute("SET LOCAL settler.tenant_id = 'acme'")
        assert submit(api, command)
        assert not submit(api, command)
    outcome = CommandOutcome(command.command_id, "done", {"definition_version": 1})
    late = CommandOutcome(command.command_id, "refused", {"why": "late"})
    commit = commit_of(
        0,
        1,
        held.fence,
        redriven=[dead_letter_id("settler.transactions.source", 0, 1)],
        command_outcomes=[outcome, late],
    )
    commit_flush(flow, [commit], [])
    assert flow.execute("SELECT redriven_at FROM dead_letter_queue").fetchone() != (None,)
    state = read_command_state(flow, command.command_id)
    assert (state.status, state.outcome) == ("done", {"definition_version": 1})


def test_a_zombie_is_stopped_by_the_fence_not_by_the_clock(flow, connect_as):
    zombie = connect_as("flow")
    held = claim(zombie)
    commit_flush(zombie, [commit_of(0, 1, held.fence)], [])
    heir = claim(flow)
    with pytest.raises(Fenced):
        commit_flush(zombie, [commit_of(1, 1, held.fence)], [])
    commit_flush(flow, [commit_of(1, 3, heir.fence)], [])
    with pytest.raises(Fenced):
        commit_flush(zombie, [commit_of(1, 3, held.fence)], [])
    assert find_gaps(flow) == []
    assert [b.event_count for b in read_stream(flow, "acme/shop")] == [1, 3]


def test_a_claim_waits_for_the_flush_it_overtakes(flow, connect_as, database):
    zombie = connect_as("flow")
    held = claim(zombie)
    claims = []
    with zombie.transaction():
        commit_flush(zombie, [commit_of(0, 2, held.fence)], [])  # a savepoint: not committed yet
        thread = threading.Thread(target=lambda: claims.append(claim(flow)))
        thread.start()
        wait_for_lock(database)
        assert claims == []
    thread.join(10)
    assert (claims[0].version, len(claims[0].batches)) == (2, 1)


def wait_for_lock(database) -> None:
    """Return once a session of this database waits for a lock of another."""
    with database.connect(autocommit=True) as watcher:
        for _ in range(5_000):
            waiting = watcher.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            ).fetchone()
            if waiting[0]:
                return
    raise AssertionError("nobody waits for a lock")


def test_positions_are_gapless_and_in_commit_order_with_many_writers(database, flow):
    """A reader that follows the log while four write sees every position, once, in order."""
    rounds, writers = 40, 4
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with connect(database.url, "flow") as conn:
                held = claim(conn, "acme", f"r-{number}")
                version = 0
                for turn in range(rounds):
                    count = 1 + (turn * 7 + number) % 5
                    commit = commit_of(version, count, held.fence, reconciliation=f"r-{number}")
                    commit_flush(conn, [commit], [])
                    version += count
        except BaseException as exc:
            failures.append(exc)
            raise

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen, position = 0, 0
    while any(thread.is_alive() for thread in threads) or read_head(flow) > position:
        for batch in read_batches(flow, position, 100, with_journal=False):
            assert batch.first_position == position + 1
            position = batch.last_position
            seen += 1
    for thread in threads:
        thread.join()
    assert not failures
    assert seen == rounds * writers
    assert find_gaps(flow) == []


def test_gaps_are_found(flow, database):
    held = claim(flow)
    for base in (0, 2, 4):
        commit_flush(flow, [commit_of(base, 2, held.fence)], [])
    with database.connect(autocommit=True) as owner:
        owner.execute("DELETE FROM event_store WHERE base_version = 2")
        owner.execute("UPDATE streams SET version = 7")
        owner.execute("UPDATE log_head SET position = 9")
    assert {(gap.kind, gap.expected, gap.found) for gap in find_gaps(flow)} == {
        ("version", 2, 4),
        ("position", 3, 5),
        ("stream", 7, 6),
        ("head", 9, 6),
    }


def test_the_outcome_of_a_commit_is_read_from_the_streams(flow):
    held = claim(flow)
    other = claim(flow, "acme", "other")
    commits = [commit_of(0, 2, held.fence), commit_of(0, 0, other.fence, reconciliation="other")]
    assert commit_outcome(flow, commits) == "not_committed"
    commit_flush(flow, commits, [])
    assert commit_outcome(flow, commits) == "committed"
    commit_flush(flow, [commit_of(2, 1, held.fence)], [])
    assert commit_outcome(flow, commits) == "fenced"
    assert commit_outcome(flow, [commit_of(0, 1, 1, reconciliation="none")]) == "fenced"
    assert commit_outcome(flow, []) == "not_committed"


def test_committing_wakes_listeners_with_the_position(flow, database):
    held = claim(flow)
    with database.connect(autocommit=True) as listener:
        listener.execute("LISTEN settler_events")
        commit_flush(flow, [commit_of(0, 3, held.fence)], [])
        notifies = list(listener.notifies(timeout=5, stop_after=1))
    assert [(n.channel, n.payload) for n in notifies] == [("settler_events", "3")]


def test_a_stream_is_read_from_any_version(flow):
    held = claim(flow)
    for base in (0, 3, 6):
        commit_flush(flow, [commit_of(base, 3, held.fence)], [])
    bases = {
        after: [batch.base_version for batch in read_stream(flow, "acme/shop", after)]
        for after in (0, 2, 3, 4, 8, 9)
    }
    assert bases == {0: [0, 3, 6], 2: [0, 3, 6], 3: [3, 6], 4: [3, 6], 8: [6], 9: []}


def test_commits_that_do_not_follow_on_are_a_mistake_in_the_caller(flow):
    held = claim(flow)
    good = commit_of(0, 2, held.fence)
    for wrong in (
        [good, commit_of(3, 1, held.fence)],
        [msgspec.structs.replace(good, new_version=5)],
        [good, commit_of(2, 1, held.fence + 1)],
    ):
        with pytest.raises(AssertionError):
            commit_flush(flow, wrong, [])
