"""Generated load through a real broker, and the verdict over what stands in a real database."""

import json
import subprocess
import sys

import msgspec
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from connectors.synthetic.facts import (
    DeadLetterFact,
    ExceptionFact,
    Facts,
    MatchFact,
    digest,
    read_facts,
)
from connectors.synthetic.facts import compare as compare_facts
from connectors.synthetic.topics import create_topics, topic_names
from deploy.verdict import differences, read_stored_facts
from domain.transaction_reading import decode_transaction
from domain.transactions import Transaction

CLOCK_US = 1_790_000_000_000_000


def consume(servers: str, topic: str) -> list[tuple[bytes, bytes]]:
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "unused", "enable.partition.eof": True}
    )
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    found, ended = [], set()
    while len(ended) < len(partitions):
        for message in consumer.consume(10_000, timeout=0.2):  # it waits as long for that many
            if message.error():
                ended.add(message.partition())
            else:
                found.append((message.key(), message.value()))
    consumer.close()
    return found


def test_generate_fills_topics_that_were_not_there(broker, environment, tmp_path):
    prefix = environment["SETTLER_TOPIC_PREFIX"] + "-generated"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "deploy.cli.main", "generate", "--kafka"),
            *("--out", str(tmp_path), "--transactions", "4000", "--partitions", "3", "--json"),
        ],
        env=environment | {"SETTLER_TOPIC_PREFIX": prefix, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sides = [consume(broker.bootstrap_servers, topic) for topic in topic_names(prefix)]
    assert sum(map(len, sides)) == json.loads(done.stdout)["messages"]
    truth = read_facts(tmp_path / "truth")
    dead = {fact.digest for fact in truth.dead_letters}
    ids = {
        (side, record.transaction_id)
        for side, messages in enumerate(sides)
        for _, value in messages
        if digest(value) not in dead
        and isinstance(record := decode_transaction(value, side, CLOCK_US), Transaction)
    }
    assert len(ids) == sum(count for count, _ in truth.accepted.values())
    assert (tmp_path / "acme" / "ledger-bank" / "definition.yaml").is_file()


def test_topics_that_are_there_stay_as_they_are(broker, topic_prefix):
    config = {"bootstrap.servers": broker.bootstrap_servers}
    create_topics(config, topic_prefix, partitions=9)
    consumer = Consumer(config | {"group.id": "unused"})
    topic = topic_names(topic_prefix)[0]
    assert len(consumer.list_topics(topic, 10).topics[topic].partitions) == 4
    consumer.close()


STREAM = "acme/shop"
RAW = b'{"amount": 1e3}'
STORED = Facts(
    [
        MatchFact(STREAM, "r", "confirmed", ("s1",), ("t1",)),
        MatchFact(STREAM, "r", "suggested", ("s2", "s3"), ("t2",)),
    ],
    [ExceptionFact(STREAM, "target", "t9", "missing_in_source")],
    [DeadLetterFact("", "source", "invalid_amount", None, digest(RAW))],
    {(STREAM, 0, "EUR"): [3, 600], (STREAM, 1, "EUR"): [3, -250]},
)
STORED.redelivered[STREAM] = 5


def fill(conn: psycopg.Connection) -> None:
    moment = "2026-01-05T00:00:00Z"
    for place, (status, sources, targets) in enumerate(
        [
            ("confirmed", ["s1"], ["t1"]),
            ("suggested", ["s2", "s3"], ["t2"]),
            ("superseded", ["s1"], ["t2"]),
        ]
    ):
        conn.execute(
            "INSERT INTO matches VALUES (gen_random_uuid(), 'acme', 'shop', %s, 'r',"
            " 'one_to_one', %s, %s, %s, 'EUR', 1, 1, 0, 1, NULL, NULL,"
            " NULL, NULL, NULL, 7)",
            (place, status, sources, targets),
        )
    for name, status in (("t9", "open"), ("t8", "resolved")):
        conn.execute(
            "INSERT INTO exceptions VALUES (gen_random_uuid(), 'acme', 'shop', 1, 'target', %s,"
            " 'missing_in_source', 'low', %s, NULL, 1, 'EUR', %s, NULL, 'why', '[]', NULL, NULL,"
            " 1, %s, %s, 1)",
            (name, status, moment, moment, moment),
        )
    conn.execute(
        'INSERT INTO dead_letter_queue (topic, partition, "offset", side, raw, code, message)'
        " VALUES ('s', 0, 7, 0, %s, 'invalid_amount', 'why')",
        (RAW,),
    )
    batches = [
        [["TransactionsAccepted", [[0, "EUR", 2, 500], [1, "EUR", 3, -250]], {}, 5, 0]],
        [["WatermarkAdvanced", 1], ["TransactionsAccepted", [[0, "EUR", 1, 100]], {}, 0, 1]],
    ]
    position = 0
    for events in batches:
        conn.execute(
            "INSERT INTO event_store (last_position, first_position, stream_id, tenant_id,"
            " reconciliation_id, base_version, event_count, events, metadata)"
            " VALUES (%s, %s, 'acme/shop', 'acme', 'shop', %s, %s, %s, '{}')",
            (position + len(events), position + 1, position, len(events), json.dumps(events)),
        )
        position += len(events)


@pytest.fixture
def stored(database):
    with database.connect(autocommit=True) as conn:
        fill(conn)
        yield conn


def test_the_verdict_reads_what_stands_in_the_database(stored):
    assert compare_facts(STORED, read_stored_facts(stored)) == []


def test_the_verdict_sees_every_difference(stored):
    truth = msgspec.json.decode(msgspec.json.encode(STORED.matches), type=list[MatchFact])
    other = Facts(truth[1:], [], STORED.dead_letters, STORED.accepted, STORED.redelivered)
    assert sorted((one.kind, one.what) for one in differences(stored, other)) == [
        ("exception", "unexpected"),
        ("match", "unexpected"),
    ]
