"""What Kafka's reader and sender promise, held against a broker and against its twin in memory."""

import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main
from confluent_kafka import KafkaError, KafkaException, Producer

import connectors.kafka
from connectors.kafka import (
    BATCH_MESSAGES_MAX,
    LIVE_MESSAGES_MAX,
    TopicPart,
    describe_topic,
)
from connectors.kafka_losses import ask_first_offsets
from connectors.kafka_memory import MemoryBroker, MemoryPart, MemoryTopic
from connectors.kafka_sending import ConfirmedTopic, Outgoing, SendInterrupted
from flows.inputs import Inputs
from tests.integration.flow.running import eventually

TARGET = 1
PARTITIONS = 4
FIRST_TRACE, SECOND_TRACE = (f"00-{digit * 32}-b7ad6b7169203331-01" for digit in "ab")
NOBODY = {"bootstrap.servers": "127.0.0.1:9", "log_level": "0"}


class InMemory:
    """The twin."""

    def __init__(self):
        self.topic = "test.transactions.target"
        self.broker = MemoryBroker({self.topic: PARTITIONS})
        self.absent = MemoryBroker({self.topic: PARTITIONS})
        self.absent.away = True
        self.part_of = partial(MemoryPart, self.broker, self.topic)
        self.describe = partial(self.broker.describe_topic, self.topic)
        self.describe_absent = partial(self.absent.describe_topic, self.topic)

    def put(self, partition, *messages):
        for message in messages:
            value, headers = message if isinstance(message, tuple) else (message, None)
            self.broker.append(self.topic, partition, value, headers)

    def put_in_transaction(self, partition, value):
        self.put(partition, value)
        self.broker.skip(self.topic, partition)

    def sender(self, stop):
        return MemoryTopic(self.broker, self.topic, stop)

    def absent_sender(self, stop):
        return MemoryTopic(self.absent, self.topic, stop)

    def lose_the_first(self, partition):
        """Have the retention delete what is there, and more; return the first offset left."""
        self.put(partition, *[b"x"] * 8)
        newest = self.broker.messages(self.topic, partition)[-1].offset
        self.broker.delete_before(self.topic, partition, newest)
        return newest


class Embedded:
    """The embedded broker over the network."""

    def __init__(self, bootstrap_servers, topic):
        self.topic = topic
        self.config = {"bootstrap.servers": bootstrap_servers, "log_level": "0"}
        self.producer = Producer(dict(self.config))
        self.part_of = partial(TopicPart, self.config, topic)
        self.describe = partial(describe_topic, self.config, topic)
        self.describe_absent = partial(describe_topic, NOBODY, topic)

    def put(self, partition, *messages):
        for message in messages:
            value, headers = message if isinstance(message, tuple) else (message, None)
            self.producer.produce(self.topic, value, partition=partition, headers=headers)
        assert self.producer.flush(10) == 0

    def put_in_transaction(self, partition, value):
        producer = Producer({**self.config, "transactional.id": self.topic})
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce(self.topic, value, partition=partition)
        producer.commit_transaction(10)
        # Kafka writes the transaction's end after it has said yes; who comes next waits for it.
        Producer({**self.config, "transactional.id": self.topic}).init_transactions(10)

    def sender(self, stop):
        return ConfirmedTopic(self.config, self.topic, stop)

    def absent_sender(self, stop):
        return ConfirmedTopic(NOBODY, self.topic, stop)


class Forgetful(Embedded):
    """The broker within librdkafka: it keeps no more than 5 MB of a partition.

    The embedded broker deletes nothing, and answers a read of an offset that it has not with
    silence; Kafka and this one say that there is none.
    """

    def __init__(self):
        self.cluster = Producer({**NOBODY, "test.mock.num.brokers": 1})
        (address,) = self.cluster.list_topics(timeout=10).brokers.values()
        super().__init__(f"{address.host}:{address.port}", "test.transactions.target")
        # The client reads no further ahead while anything read waits to be taken.
        ahead = {"queued.min.messages": "1"}
        self.part_of = partial(TopicPart, {**self.config, **ahead}, self.topic)

    def lose_the_first(self, partition):
        for _ in range(8):
            self.put(partition, b"x" * 900_000)
        reader = self.part_of(partition, TARGET, None, told_nobody, lambda: False)
        first = read(reader, 1)[0].offsets[0]
        reader.close()
        return first


@pytest.fixture(params=["memory", "broker"])
def kafka(request):
    if request.param == "memory":
        return InMemory()
    prefix = request.getfixturevalue("topic_prefix")
    broker = request.getfixturevalue("broker")
    return Embedded(broker.bootstrap_servers, f"{prefix}.transactions.target")


@pytest.fixture(params=[InMemory, Forgetful])
def forgetful(request):
    return request.param()


@pytest.fixture
def part_of():
    """Make readers of any of them; closed at the end of the test."""
    parts = []

    def make(kafka, partition=0, start=None, told=None, stopping=lambda: False):
        told = [] if told is None else told
        part = kafka.part_of(partition, TARGET, start, lambda *place: told.append(place), stopping)
        parts.append(part)
        return part

    yield make
    for part in parts:
        part.close()


def told_nobody(*_place):
    pass


def read(part, count):
    """Read that many messages; however they come."""
    batches = []

    def has_read():
        batches.extend(part.next_batch())
        return sum(len(batch.values) for batch in batches) >= count

    eventually(20, f"{count} messages read", has_read)
    assert sum(len(batch.values) for batch in batches) == count
    return batches


def values_of(batches):
    return [value for batch in batches for value in batch.values]


def offsets_of(batches):
    return [offset for batch in batches for offset in batch.offsets]


def test_a_partition_is_read_from_its_beginning_in_order(kafka, part_of):
    kafka.put(2, b"one", None, b"three")
    kafka.put(3, b"of another")
    part = part_of(kafka, 2)
    assert part.position == (kafka.topic, 2, None)
    batches = read(part, 3)
    assert values_of(batches) == [b"one", b"", b"three"], "a tombstone is the empty message"
    assert offsets_of(batches) == [0, 1, 2]
    assert {(b.topic, b.partition, b.side) for b in batches} == {(kafka.topic, 2, TARGET)}
    assert part.position == (kafka.topic, 2, 3)


def test_a_partition_is_read_from_where_it_is_told(kafka, part_of):
    kafka.put(0, *(b"%d" % number for number in range(5)))
    assert values_of(read(part_of(kafka, start=3), 2)) == [b"3", b"4"]
    at_the_end = part_of(kafka, start=5)
    assert at_the_end.next_batch() == []
    kafka.put(0, b"5")
    assert offsets_of(read(at_the_end, 1)) == [5]


def test_offsets_may_have_gaps(kafka, part_of):
    kafka.put(1, b"before")
    kafka.put_in_transaction(1, b"within")  # its end takes an offset
    kafka.put(1, b"after")
    part = part_of(kafka, 1)
    batches = read(part, 3)
    assert values_of(batches) == [b"before", b"within", b"after"]
    assert offsets_of(batches) == [0, 1, 3]
    assert part.position[2] == 4
    assert offsets_of(read(part_of(kafka, 1, start=2), 1)) == [3], "from within a gap"


def test_a_gap_at_the_end_is_read_to_its_end(kafka, part_of):
    told = []
    kafka.put(1, b"before")
    kafka.put_in_transaction(1, b"within")
    part = part_of(kafka, 1, told=told)
    read(part, 2)

    def is_through():
        assert part.next_batch() == []
        part.snapshot()
        return told and told[-1] == (kafka.topic, 1, 3)

    eventually(20, "the transaction's end is passed, or nobody would ever be caught up", is_through)
    kafka.put(1, b"after")
    assert offsets_of(read(part, 1)) == [3]


def test_each_message_s_trace_is_told(kafka, part_of):
    named = [None, None, FIRST_TRACE, SECOND_TRACE, None]
    headers = [
        None,
        [("traceparent", None), ("other", b"x")],
        [("other", None), ("traceparent", FIRST_TRACE.encode())],
        [("traceparent", SECOND_TRACE.encode())],
        [],
    ]
    kafka.put(0, *((b"%d" % number, one) for number, one in enumerate(headers)))
    for batch in read(part_of(kafka), 5):
        assert batch.traces == {one: named[one] for one in batch.offsets if named[one]}
    (last,) = read(part_of(kafka, start=4), 1)
    assert last.traces == {}


def test_a_batch_is_bounded(kafka, part_of):
    kafka.put(0, *[b"x"] * (2 * BATCH_MESSAGES_MAX + 1))
    batches = read(part_of(kafka), 2 * BATCH_MESSAGES_MAX + 1)
    assert max(len(batch.values) for batch in batches) <= BATCH_MESSAGES_MAX
    assert offsets_of(batches) == list(range(2 * BATCH_MESSAGES_MAX + 1))


@pytest.fixture
def embedded(broker, topic_prefix):
    return Embedded(broker.bootstrap_servers, f"{topic_prefix}.transactions.target")


def test_a_partition_that_keeps_up_is_read_less_at_once(embedded):
    embedded.put(0, *[b"x"] * (3 * LIVE_MESSAGES_MAX))
    part = embedded.part_of(0, TARGET, None, told_nobody, lambda: False, keeps_up=lambda: True)
    batches = read(part, 3 * LIVE_MESSAGES_MAX)
    assert max(len(batch.values) for batch in batches) == LIVE_MESSAGES_MAX
    part.close()


def test_first_offsets_are_asked_of_all_partitions_at_once(embedded):
    embedded.put(1, b"0", b"1")
    places = [(embedded.topic, partition) for partition in range(PARTITIONS)]
    firsts = ask_first_offsets(embedded.config, places)
    assert firsts == dict.fromkeys(places, 0)


def test_a_reader_that_is_told_the_beginning_reads_from_there_and_no_earlier(embedded):
    embedded.put(1, b"0", b"1", b"2")
    part = embedded.part_of(1, TARGET, None, told_nobody, lambda: False, 1)
    assert part.position[2] is None, "nothing is read yet"
    assert values_of(read(part, 2)) == [b"1", b"2"]
    part.close()


def test_an_empty_read_says_when_to_ask_again(kafka, part_of):
    part = part_of(kafka)
    assert part.next_awake() is None
    assert part.next_batch() == []
    until = part.next_awake() - datetime.now(UTC)
    assert timedelta(seconds=-1) < until < timedelta(seconds=1)
    kafka.put(0, b"x")
    read(part, 1)
    assert part.next_awake() is None


def test_what_has_passed_is_told_once_the_epoch_is_through(kafka, part_of):
    told = []
    part = part_of(kafka, told=told)
    assert part.snapshot() == -1
    assert part.next_batch() == []
    kafka.put(0, b"0", b"1")
    read(part, 2)
    assert (part.snapshot(), told) == (2, [])
    kafka.put(0, b"2")
    read(part, 1)
    assert told == [(kafka.topic, 0, 2)], "what came after the snapshot is not through yet"
    part.next_batch()
    assert len(told) == 1, "once"
    assert part.snapshot() == 3
    part.next_batch()
    part.snapshot()
    part.next_batch()
    assert told[1:] == [(kafka.topic, 0, 3)]
    kafka.put(0, b"3")
    read(part, 1)
    part.tell_end()
    part.close()
    assert told[2:] == [], "a dataflow that breaks down closes its parts before all is through"


def test_where_nothing_was_read_nothing_is_told(kafka, part_of):
    kafka.put(0, b"0", b"1")
    told = []
    part = part_of(kafka, start=2, told=told)
    assert (part.next_batch(), part.snapshot()) == ([], 2)
    part.next_batch()
    part.close()
    assert told == []


def test_told_to_stop_a_part_ends_after_telling_what_passed(kafka, part_of):
    told, stopping = [], []
    part = part_of(kafka, told=told, stopping=lambda: bool(stopping))
    kafka.put(0, b"0")
    read(part, 1)
    part.snapshot()
    kafka.put(0, b"not read any more")
    stopping.append(True)
    with pytest.raises(StopIteration):
        part.next_batch()
    assert told == [(kafka.topic, 0, 1)]
    assert part.position == (kafka.topic, 0, 1)


def test_the_last_records_have_passed_once_the_dataflow_has_ended_in_order(kafka, part_of):
    told, stopping = [], []
    part = part_of(kafka, told=told, stopping=lambda: bool(stopping))
    kafka.put(0, b"0", b"1")
    read(part, 2)
    stopping.append(True)
    with pytest.raises(StopIteration):
        part.next_batch()
    part.close()
    assert told == []
    part.tell_end()
    part.tell_end()
    assert told == [(kafka.topic, 0, 2)]


def test_a_dataflow_reads_every_partition_and_tells_when_all_is_through(kafka, part_of):
    for partition in range(PARTITIONS):
        kafka.put(partition, *(b"%d" % number for number in range(3)))
    told, out, parts = [], [], []

    def part(partition):
        parts.append(part_of(kafka, partition, None, told, lambda: len(out) >= 3 * PARTITIONS))
        return parts[-1]

    partitions = kafka.describe(lambda _seconds: True).partitions
    source = Inputs(lambda: {str(one): partial(part, one) for one in partitions})
    flow = Dataflow("reading")
    read_together = op.input("in", flow, source)
    op.output("out", op.flat_map("values", read_together, lambda one: one.values), TestingSink(out))
    run_main(flow, epoch_interval=timedelta(0))
    for one in parts:
        one.tell_end()
    assert sorted(out) == sorted([b"0", b"1", b"2"] * PARTITIONS)
    newest = {partition: offset for _topic, partition, offset in told}
    assert newest == dict.fromkeys(range(PARTITIONS), 3)


def test_a_dataflow_that_breaks_down_tells_nothing_of_what_it_had_in_hand(kafka, part_of):
    kafka.put(0, b"0", b"1")
    told = []
    source = Inputs(lambda: {"0": lambda: part_of(kafka, 0, None, told)})

    def break_down(_records):
        raise ArithmeticError

    flow = Dataflow("breaking")
    op.output("out", op.map("break", op.input("in", flow, source), break_down), TestingSink([]))
    with pytest.raises(BaseException, match=r"ArithmeticError|break"):
        run_main(flow, epoch_interval=timedelta(0))
    assert told == []


def test_an_offset_that_is_not_there_stops_the_reader(forgetful, part_of):
    forgetful.put(0, *(b"%d" % number for number in range(5)))
    assert is_out_of_range(part_of(forgetful, start=6))
    first = forgetful.lose_the_first(0)
    assert first > 3
    assert is_out_of_range(part_of(forgetful, start=3))
    assert offsets_of(read_some(part_of(forgetful)))[0] == first


def test_messages_deleted_before_they_were_read_stop_the_reader(forgetful, part_of):
    """Also one that began at the beginning: going on with what is left would lose them."""
    count = BATCH_MESSAGES_MAX + 10
    forgetful.put(0, *[b"x"] * count)
    part = part_of(forgetful)
    seen = offsets_of(read_some(part))
    assert forgetful.lose_the_first(0) > count
    with pytest.raises(KafkaException) as stopped:
        eventually(20, "it stops", lambda: seen.extend(offsets_of(part.next_batch())))
    assert stopped.value.args[0].code() == KafkaError._AUTO_OFFSET_RESET
    assert all(after == before + 1 for before, after in pairwise(seen)), "nothing left out"


def read_some(part):
    batches = []
    eventually(20, "something read", lambda: batches.extend(part.next_batch()) or batches)
    return batches


def is_out_of_range(part):
    with pytest.raises(KafkaException) as stopped:
        eventually(20, "it stops", part.next_batch)
    return stopped.value.args[0].code() == KafkaError._AUTO_OFFSET_RESET


def test_a_topic_is_described(kafka):
    identity = kafka.describe(lambda _seconds: True)
    assert identity.partitions == list(range(PARTITIONS))
    assert identity.cluster_id
    assert identity.topic_id
    assert kafka.describe(lambda _seconds: True) == identity


def test_an_absent_broker_is_waited_for_until_told_to_stop(kafka, monkeypatch):
    monkeypatch.setattr(connectors.kafka, "_METADATA_TIMEOUT_SECONDS", 0.2)
    waits = []
    with pytest.raises(InterruptedError, match=kafka.topic):
        kafka.describe_absent(lambda seconds: waits.append(seconds) or len(waits) == 2)
    assert min(waits) > 0


def outgoing(key, *values):
    return [Outgoing(key, value, [("traceparent", FIRST_TRACE.encode())]) for value in values]


def read_all(kafka, part_of, count):
    """Partition → its messages, once there are that many."""
    parts = [part_of(kafka, partition) for partition in range(PARTITIONS)]
    batches = []

    def has_read():
        batches.extend(batch for part in parts for batch in part.next_batch())
        return sum(len(batch.values) for batch in batches) >= count

    eventually(20, f"{count} messages arrived", has_read)
    assert sum(len(batch.values) for batch in batches) == count
    assert {trace for batch in batches for trace in batch.traces.values()} == {FIRST_TRACE}
    return [
        values_of(batch for batch in batches if batch.partition == partition)
        for partition in range(PARTITIONS)
    ]


def test_what_is_sent_is_there_in_the_order_of_its_key(kafka, part_of):
    sender = kafka.sender(threading.Event())
    rounds = [[*outgoing(b"a", b"a%d" % n), *outgoing(b"b", b"b%d" % n)] for n in range(50)]
    assert sender.send(lambda: (message for one in rounds[:25] for message in one)) == 50
    assert sender.send(lambda: [message for one in rounds[25:] for message in one]) == 50
    assert sender.send(list) == 0
    assert sender.send(lambda: outgoing(None, b"of no key")) == 1
    sender.close()
    found = read_all(kafka, part_of, 101)
    for key in (b"a", b"b"):
        of_key = [[value for value in values if value.startswith(key)] for values in found]
        assert list(filter(None, of_key)) == [[key + b"%d" % number for number in range(50)]]


def test_what_is_refused_is_sent_again_from_the_first_on(kafka, part_of):
    attempts = []

    def messages():
        attempts.append(len(attempts))
        yield from outgoing(b"k", b"first")
        yield from outgoing(b"k", b"x" * (17 * 1024 * 1024 if len(attempts) == 1 else 1), b"last")

    sender = kafka.sender(threading.Event())
    assert sender.send(messages) == 3
    assert sender.send(lambda: outgoing(b"k", b"end")) == 1
    sender.close()
    assert attempts == [0, 1]
    parts = [part_of(kafka, partition) for partition in range(PARTITIONS)]
    found = []

    def has_read():
        found.extend(value for part in parts for value in values_of(part.next_batch()))
        return b"end" in found

    eventually(20, "the last one arrived", has_read)
    assert found[-4:] == [b"first", b"x", b"last", b"end"]
    assert set(found[:-4]) <= {b"first"}, "nothing behind the refused one came before it"


def test_told_to_stop_a_sender_still_sends_what_the_broker_takes(kafka, part_of):
    stop = threading.Event()
    stop.set()
    sender = kafka.sender(stop)
    assert sender.send(lambda: outgoing(b"k", b"one", b"two")) == 2
    sender.close()
    assert [values for values in read_all(kafka, part_of, 2) if values] == [[b"one", b"two"]]


def test_told_to_stop_without_a_broker_a_sender_says_that_nothing_is_sure(kafka, monkeypatch):
    monkeypatch.setattr(connectors.kafka, "_METADATA_TIMEOUT_SECONDS", 0.2)
    stop = threading.Event()
    sender = kafka.absent_sender(stop)
    stop.set()
    with pytest.raises(SendInterrupted, match=kafka.topic):
        sender.send(lambda: outgoing(b"k", b"one"))
    sender.close()
