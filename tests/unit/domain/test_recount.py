"""Kafka's messages against the log: what is lost, doubled or changed alone is named."""

import json
import re
from array import array

import pytest

from domain.events import TransactionsAccepted
from domain.transactions import Transaction
from domain.verification.letters import TopicReset
from domain.verification.recount import Reach, Recount, StreamRecount, _read_exactly
from domain.verification.totals import Tally

TOPIC = "settler.transactions.source"
PLACE = f"{TOPIC}/0"
PARTITION = (TOPIC, 0)
STREAM = "acme/orders"


def message(number: int, amount: str = "1.00", **fields) -> bytes:
    record = {
        "tenant_id": "acme",
        "reconciliation_id": "orders",
        "transaction_id": f"t{number}",
        "amount": amount,
        "currency": "EUR",
        "occurred_at": "2026-01-05T10:00:00Z",
    }
    return json.dumps(record | fields).encode()


REFUSED = message(9, "a lot")


class World:
    """One stream that took in messages of one partition, chunk by chunk, and Kafka's messages."""

    def __init__(self, first_kept: int = 0, resets: list[TopicReset] | None = None) -> None:
        self.stream = StreamRecount(STREAM, Reach({PLACE: first_kept}, resets or []))
        self.kafka: list[tuple[int, bytes]] = []
        self.letters: list[int] = []
        self.next_offset = 0
        self.position = 0

    def take_in(self, *accepted: bytes, redelivered: int = 0, rejected: int = 0, offsets=True):
        """Note a chunk in the log; with offsets it follows on the one before."""
        self.position += 1
        transactions = [self._read(one) for one in accepted]
        sums: dict = {}
        for one in transactions:
            sums.setdefault((one.side, one.currency), Tally()).add(1, one.amount_minor)
        span = {}
        if offsets:
            following = self.next_offset + len(accepted) + redelivered + rejected
            span = {PLACE: (self.next_offset, following)}
            self.next_offset = following
        event = TransactionsAccepted([], span, redelivered, rejected)
        self.stream.take_in(event, transactions, sums, self.position)

    def send(self, *values: bytes) -> None:
        first = self.kafka[-1][0] + 1 if self.kafka else 0
        self.kafka += enumerate(values, first)

    def recount(self, *, every: bool = True, streams: dict | None = None) -> Recount:
        self.stream.seal({PLACE: self.next_offset})
        recount = Recount(
            {STREAM: self.stream} if streams is None else streams,
            {PARTITION: array("q", self.letters)},
            {PARTITION: self.next_offset},
            every=every,
        )
        for offset, value in self.kafka:
            recount.read(PARTITION, 0, offset, value)
        return recount

    def problems(self, **options) -> list[str]:
        return [one.problem for one in self.recount(**options).differences()]

    @staticmethod
    def _read(raw: bytes) -> Transaction:
        one = _read_exactly(raw, 0, -1)
        assert isinstance(one, Transaction)
        return one


def truthful() -> World:
    """Three accepted, one of them delivered twice, and one that was refused."""
    world = World()
    world.take_in(message(1), message(2), redelivered=1, rejected=1)
    world.take_in(message(3))
    world.send(message(1), message(2), message(1), REFUSED, message(3))
    world.letters = [3]
    return world


def test_what_is_accounted_for_holds():
    recount = truthful().recount()
    assert list(recount.differences()) == []
    assert recount.messages == 5
    assert recount.outcomes == {"accepted": 3, "redelivered": 1, "dead_letter": 1}


def lose(world: World) -> None:
    world.kafka[4] = (4, message(4))


def lose_two(world: World) -> None:
    world.kafka[1:3] = [(1, message(8)), (2, message(9))]


def drop_letter(world: World) -> None:
    world.letters = []


def change_amount(world: World) -> None:
    world.kafka[4] = (4, message(3, "1.01"))


def delete_from_kafka(world: World) -> None:
    del world.kafka[2]


def invent(world: World) -> None:
    """The log has a transaction that no message brought."""
    world.take_in(message(7))
    world.next_offset -= 1
    world.stream._spans[PLACE].following -= 1


def swap(world: World) -> None:
    """As many messages as the log took, but one is there twice and another not at all."""
    world.kafka[4] = (4, message(2))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lose, r"offset 4 \(source transaction t4\) is committed, yet neither accepted nor a dead"),
        (lose_two, r"offset 1 \(source transaction t8\).* and so are 1 behind it"),
        (drop_letter, r"offset 3 \(source transaction t9\)"),
        (change_amount, r"offset 4 \(source transaction t3\)"),
        (delete_from_kafka, r"the log took 5 records from .*/0, offsets 0 to 4, where Kafka has 4"),
        (invent, r"the log took 6 records .* where Kafka has 5"),
        (swap, r"the log accepted 3 source transactions in EUR .* of which 2 with 200 are there"),
    ],
)
def test_one_thing_changed_is_named(change, problem):
    world = truthful()
    change(world)
    found = list(world.recount().differences())
    assert found
    assert any(re.search(problem, one.problem) for one in found), found
    assert all(one.kind == "kafka" and one.hint for one in found)


def test_what_is_not_committed_yet_is_left_out():
    world = truthful()
    world.send(message(4))
    assert world.problems() == []


def with_strangers() -> World:
    world = truthful()
    world.send(b"{", message(5, reconciliation_id="unheard-of"))
    world.next_offset += 2
    return world


def test_messages_of_other_streams_are_looked_at_only_when_all_are_verified():
    assert with_strangers().problems(every=False) == []
    (problem,) = with_strangers().problems()
    assert "offset 5 (source transaction without a readable id)" in problem
    assert "and so are 1 behind it" in problem


def test_a_stream_whose_log_does_not_hold_is_passed_over():
    world = truthful()
    lose(world)
    recount = world.recount(streams={STREAM: None})
    assert list(recount.differences()) == []
    assert recount.messages == 0


@pytest.mark.parametrize("kept", [True, False])
def test_what_kafka_has_no_longer_is_not_asked_for_and_the_rest_is(kept):
    world = World(first_kept=2)
    world.take_in(message(1), message(2))
    world.take_in(message(3))
    world.kafka = [(2, message(3))] if kept else []
    assert len(world.problems()) == (0 if kept else 2)


def test_what_was_read_before_a_topic_began_anew_is_not_asked_for():
    world = World(resets=[TopicReset(TOPIC, f"{TOPIC}@then", 1)])
    world.take_in(message(1))
    world.next_offset = 0
    world.take_in(message(2))
    world.send(message(2))
    assert world.problems() == []


def test_a_redriven_record_is_accepted_where_it_was_refused():
    world = World()
    world.take_in(rejected=1)
    world.take_in(message(1), offsets=False)
    world.send(message(1))
    world.letters = [0]
    recount = world.recount()
    assert list(recount.differences()) == []
    assert recount.outcomes["accepted"] == 1


def test_an_id_accepted_again_after_it_was_forgotten_is_there_twice():
    world = World()
    world.take_in(message(1))
    world.take_in(message(1))
    world.send(message(1), message(1))
    recount = world.recount()
    assert list(recount.differences()) == []
    assert recount.outcomes["accepted"] == 2


def test_of_an_id_accepted_twice_the_one_kafka_must_have_counts():
    world = World(first_kept=1)
    world.take_in(message(1))
    world.take_in(message(1))
    world.kafka = [(1, message(1))]
    assert world.problems() == []


def test_a_record_far_ahead_of_the_clock_counts_as_what_the_log_says():
    world = World()
    ahead = message(1, occurred_at="2999-01-01T00:00:00Z")
    world.take_in(ahead)
    world.send(ahead)
    assert world.problems() == []


def test_messages_of_chunks_whose_journals_have_expired_are_counted_and_not_judged():
    world = World()
    world.stream.pass_over(TransactionsAccepted([], {PLACE: (0, 1)}, 0, 0))
    world.stream.know([world._read(message(2)).packed])
    world.stream.seal({PLACE: 3})
    recount = Recount({STREAM: world.stream}, {}, {}, every=True)
    for offset, number in enumerate([1, 2, 3]):
        recount.read(PARTITION, 0, offset, message(number))
    assert recount.outcomes == {"accepted": 1, "redelivered": 0, "dead_letter": 0, "expired": 1}
    (lost,) = recount.differences()
    assert "offset 2 (source transaction t3) is committed, yet neither" in lost.problem
