"""What a store promises a flow, held against Postgres and against its twin in memory."""

import uuid
from itertools import count

import msgspec
import pytest

from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.connections import connect
from connectors.postgres.errors import Fenced, TopicReplaced
from connectors.postgres.inbox import Command
from connectors.postgres.journal import decode_journal
from connectors.postgres.records import CommandOutcome, dead_letter_id
from connectors.postgres.store import PostgresStore, Store
from connectors.postgres.store_memory import MemoryStore
from domain.event_batches import decode_events
from domain.freezing.frozen import NewBlock
from domain.snapshots import FORMAT as SNAPSHOT_FORMAT
from domain.snapshots import READABLE
from tests.integration.postgres.commits import commit_of, letter, matched

STREAM = ("acme/shop", "acme", "shop")
TOPIC = "settler.transactions.source"


@pytest.fixture(params=["memory", "postgres"])
def store(request):
    if request.param == "memory":
        ticks = count(1_767_614_001_000_000)
        yield MemoryStore(lambda: next(ticks))
    else:
        database = request.getfixturevalue("database")
        store = PostgresStore(lambda: connect(database.url, "flow"))
        # Submitting is the API's part; on one laptop URL the operator's role does for both.
        operator = PostgresStore(lambda: connect(database.url, "operator"))
        store.submit, store.request_redrive = operator.submit, operator.request_redrive
        yield store
        store.close()
        operator.close()


def claim(store: Store, reconciliation: str = "shop"):
    held = store.claim(f"acme/{reconciliation}", "acme", reconciliation, create=True)
    assert held is not None
    return held


def command(number: int) -> Command:
    name = str(uuid.UUID(int=number))
    return Command(name, "acme", "shop", "define", {"n": number}, "u-1", "corr", {"a": "b"})


def test_a_stream_that_is_not_there_is_made_only_when_asked(store):
    assert store.claim(*STREAM, create=False) is None
    first = store.claim(*STREAM, create=True)
    assert (first.version, first.fence, first.next_offset, first.batches) == (0, 1, {}, [])
    assert (first.snapshot, first.snapshot_version, first.definition_version) == (None, 0, 0)
    assert store.claim(*STREAM, create=False).fence == 2


def test_what_is_written_is_what_a_claim_gives_back(store):
    held = claim(store)
    head = store.write(
        [
            commit_of(0, 2, held.fence, journal=[b"one"], next_offset={"t/0": 4}),
            commit_of(2, 1, held.fence, journal=[b"two"], next_offset={"t/1": 1}),
        ],
        [],
    )
    assert head == 3
    again = claim(store)
    assert (again.version, again.next_offset) == (3, {"t/0": 4, "t/1": 1})
    (batch,) = again.batches
    assert decode_events(batch.events) == [matched(0), matched(1), matched(2)]
    assert decode_journal(batch.journal) == [b"one", b"two"]
    assert store.read_batches(0, 10) == [batch]
    assert store.read_batches(3, 10) == []


def test_positions_run_through_all_streams_without_gaps(store):
    fences = {name: claim(store, name).fence for name in ("b", "a", "c")}
    for turn in range(3):
        commits = [
            commit_of(turn * 2, 2, fence, reconciliation=name) for name, fence in fences.items()
        ]
        store.write(commits, [])
    batches = store.read_batches(0, 100)
    assert [b.reconciliation_id for b in batches] == ["a", "b", "c"] * 3
    assert [(b.first_position, b.last_position) for b in batches] == [
        (first, first + 1) for first in range(1, 19, 2)
    ]
    assert store.read_batches(6, 2) == batches[3:5]


def test_who_is_fenced_stores_nothing_at_all(store):
    held, other = claim(store), claim(store, "other")
    store.write([], [letter(1)])
    claim(store)
    commits = [
        commit_of(0, 1, held.fence, redriven=[dead_letter_id(TOPIC, 0, 1)]),
        commit_of(0, 1, other.fence, reconciliation="other"),
    ]
    with pytest.raises(Fenced) as raised:
        store.write(commits, [letter(2, code="unknown_reconciliation")])
    assert raised.value.stream_ids == ["acme/shop"]
    assert store.read_batches(0, 10) == []
    assert claim(store, "other").version == 0
    assert store.read_redrivable(10) == []


def test_a_repeated_version_is_fenced(store):
    held = claim(store)
    store.write([commit_of(0, 2, held.fence)], [])
    with pytest.raises(Fenced):
        store.write([commit_of(0, 2, held.fence)], [])
    assert len(store.read_batches(0, 10)) == 1


def test_recovery_starts_at_the_newest_snapshot(store):
    held = claim(store)
    for base in (0, 2, 4):
        store.write([commit_of(base, 2, held.fence)], [])
    assert store.save_snapshot(*snapshot(2, held.fence))
    assert store.save_snapshot(*snapshot(4, held.fence))
    assert not store.save_snapshot(*snapshot(4, held.fence)), "that version has one"
    assert not store.save_snapshot(*snapshot(8, held.fence)), "not committed yet"
    again = claim(store)
    assert (again.snapshot, again.snapshot_version) == (b"state 4", 4)
    assert again.snapshot_format == SNAPSHOT_FORMAT
    assert [batch.base_version for batch in again.batches] == [4]
    assert not store.save_snapshot(*snapshot(6, held.fence)), "taken over"
    assert store.save_snapshot(*snapshot(6, again.fence))


def test_a_snapshot_of_another_release_is_passed_over(store):
    held = claim(store)
    store.write([commit_of(0, 2, held.fence)], [])
    assert store.save_snapshot(*snapshot(2, held.fence, min(READABLE) - 1))
    again = claim(store)
    assert (again.snapshot, again.snapshot_version) == (None, 0)
    assert [batch.base_version for batch in again.batches] == [0]


@pytest.mark.parametrize("snapshot_format", READABLE)
def test_a_snapshot_of_a_format_that_is_read_comes_back(store, snapshot_format):
    held = claim(store)
    store.write([commit_of(0, 2, held.fence)], [])
    assert store.save_snapshot(*snapshot(2, held.fence, snapshot_format))
    again = claim(store)
    assert (again.snapshot, again.snapshot_format) == (b"state 2", snapshot_format)


def snapshot(version: int, fence: int, snapshot_format: int = SNAPSHOT_FORMAT):
    return "acme/shop", version, snapshot_format, f"state {version}".encode(), fence


def test_a_snapshot_within_a_batch_keeps_the_whole_batch(store):
    held = claim(store)
    store.write([commit_of(0, 4, held.fence)], [])
    assert store.save_snapshot(*snapshot(3, held.fence))
    assert [batch.base_version for batch in claim(store).batches] == [0]


def test_offsets_go_forward_within_one_incarnation(store):
    assert store.load_offsets(TOPIC, "c1", "t1") == {}
    store.save_offsets([SourceCheckpoint(TOPIC, p, 10 + p, "c1", "t1") for p in (1, 0)])
    store.save_offsets([SourceCheckpoint(TOPIC, 0, 7, "c1", "t1")])
    store.save_offsets([SourceCheckpoint(TOPIC, 1, 30, "c1", "t1")])
    assert store.load_offsets(TOPIC, "c1", "t1") == {0: 10, 1: 30}
    with pytest.raises(TopicReplaced, match="settler flow reset-offsets --topic"):
        store.load_offsets(TOPIC, "c1", "t2")
    with pytest.raises(TopicReplaced):
        store.save_offsets(
            [
                SourceCheckpoint("another", 0, 5, "c1", "t9"),
                SourceCheckpoint(TOPIC, 0, 99, "c2", "t1"),
            ]
        )
    assert store.load_offsets(TOPIC, "c1", "t1") == {0: 10, 1: 30}
    assert store.load_offsets("another", "c1", "t9") == {}


def test_commands_wait_in_order_until_a_commit_decides_them(store):
    held = claim(store)
    for number in (3, 1, 2):
        assert store.submit(command(number))
    assert not store.submit(command(1)), "the same id is the same command"
    pending = store.read_pending(10)
    assert [c.payload["n"] for c in pending] == [3, 1, 2]
    unstamped = msgspec.structs.replace(pending[0], submitted_at=None)
    assert unstamped == command(3)
    assert [c.payload["n"] for c in store.read_pending(10, [command(1).command_id])] == [3, 2]
    outcome = CommandOutcome(command(3).command_id, "refused", {"code": "no"})
    store.write([commit_of(0, 1, held.fence, command_outcomes=[outcome])], [])
    assert [c.payload["n"] for c in store.read_pending(1)] == [1]
    state = store.read_command_state(command(3).command_id)
    assert (state.status, state.outcome) == ("refused", {"code": "no"})
    assert state.decided_at is not None
    assert store.read_command_state(command(2).command_id).status == "pending"
    assert store.read_command_state(str(uuid.UUID(int=99))) is None


def test_unknown_reconciliations_come_back_once_they_are_defined(store):
    unknown = {"code": "unknown_reconciliation", "message": "There is no acme/shop."}
    store.write([], [letter(1, **unknown), letter(2, **unknown), letter(3)])
    assert store.read_redrivable(10) == []
    held = claim(store)
    assert store.read_redrivable(10) == [], "a stream without a definition is none"
    store.write([commit_of(0, 1, held.fence)], [])
    first, second = store.read_redrivable(10)
    assert [first.offset, second.offset] == [1, 2]
    assert first.letter() == letter(1, **unknown)
    assert store.read_redrivable(10, [first.dead_letter_id]) == [second]
    redriven = [first.dead_letter_id, second.dead_letter_id]
    store.write(
        [commit_of(1, 1, held.fence, redriven=redriven, rejections=[letter(2, code="too_old")])],
        [],
    )
    assert store.read_redrivable(10) == []
    assert store.request_redrive([second.dead_letter_id, str(uuid.UUID(int=1))]) == 1
    (again,) = store.read_redrivable(10)
    assert (again.offset, again.code, again.redrive_outcome) == (2, "too_old", "refused")
    store.write([commit_of(2, 1, held.fence, redriven=[second.dead_letter_id])], [])
    assert store.request_redrive(redriven) == 2
    assert {one.redrive_outcome for one in store.read_redrivable(10)} == {"accepted"}


def test_a_lease_has_one_holder(store):
    assert store.acquire_lease("flow", "a", 60)
    assert not store.acquire_lease("flow", "b", 60)
    assert store.acquire_lease("flow", "a", 60)
    assert store.renew_lease("flow", "a", 60)
    assert not store.renew_lease("flow", "b", 60)
    store.release_lease("flow", "b")
    assert not store.acquire_lease("flow", "b", 60)
    store.release_lease("flow", "a")
    assert store.acquire_lease("flow", "b", 0)
    assert store.acquire_lease("flow", "a", 60), "run out"
    assert not store.renew_lease("flow", "b", 60)


class Died(Exception):
    """The process of a simulation died."""


@pytest.mark.parametrize("point", ["write:before", "write:after"])
def test_the_twin_dies_where_it_is_told(point):
    """Before: nothing is stored. After: all of it, and nobody was told."""
    failing = set()

    def fault(here: str) -> None:
        if here in failing:
            raise Died

    store = MemoryStore(lambda: 1, fault)
    held = claim(store)
    failing.add(point)
    with pytest.raises(Died):
        store.write([commit_of(0, 2, held.fence)], [letter(1)])
    failing.clear()
    stored = point == "write:after"
    assert claim(store).version == (2 if stored else 0)
    assert len(store.read_batches(0, 9)) == len(store.letters) == (1 if stored else 0)


def block(number: int, pages: int = 2) -> NewBlock:
    contents = [f"block {number} page {page}".encode() for page in range(pages)]
    return NewBlock(number, f"prints {number}".encode(), contents)


def test_what_is_frozen_is_read_by_the_page(store):
    claim(store)
    store.write_blocks("acme/shop", [block(7), block(8, 3)])
    store.write_blocks("acme/shop", [block(8, 3), block(9)])  # an answer was lost
    found = store.read_pages("acme/shop", [(7, 1), (8, 2), (9, 0), (10, 0)])
    assert found == {
        (7, 1): b"block 7 page 1",
        (8, 2): b"block 8 page 2",
        (9, 0): b"block 9 page 0",
    }
    prints = {7: b"prints 7", 9: b"prints 9"}
    assert store.read_fingerprints("acme/shop", [7, 9, 10]) == prints


def test_a_block_goes_with_the_last_snapshot_that_names_it(store):
    held = claim(store)
    store.write([commit_of(0, 8, held.fence)], [])
    store.write_blocks("acme/shop", [block(number) for number in range(1, 6)])
    places = [(number, 0) for number in range(1, 6)]

    def kept():
        return [number for number, _ in sorted(store.read_pages("acme/shop", places))]

    def save(version, fence, *named):
        state = snapshot(version, fence)
        return store.save_snapshot(*state, named, max(named))

    assert save(2, held.fence, 1, 3)
    assert kept() == [1, 3, 4, 5], "later ones may be of the state as it is now"
    assert save(4, held.fence, 3, 4)
    assert kept() == [1, 3, 4, 5], "the snapshot before is kept, and what it names"
    assert sorted(store.read_fingerprints("acme/shop", [1, 2, 3, 4, 5])) == [1, 3, 4, 5]
    assert save(6, held.fence, 5)
    assert kept() == [3, 4, 5]
    claim(store)
    assert not save(8, held.fence, 9), "taken over"
    assert kept() == [3, 4, 5], "who has lost the stream drops nothing"
