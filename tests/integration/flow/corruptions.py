"""Making one thing wrong in what a flow left behind, and what `settler verify` has to say then."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from confluent_kafka import Producer

from connectors.postgres.connections import connect
from connectors.settings import Settings
from deploy.verification.run import Verified, verify


@dataclass
class Past:
    """A database and topics that a flow has worked on and left."""

    settings: Settings
    administer: Callable[..., None]
    name: str
    url_of: Callable[[str], str]

    @contextmanager
    def copy(self) -> Iterator[psycopg.Connection]:
        """Connect as owner to a copy of the database."""
        self.administer(
            "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", "verify_copy", self.name
        )
        try:
            with psycopg.connect(self.url_of("verify_copy"), autocommit=True) as conn:
                yield conn
        finally:
            self.administer("DROP DATABASE {} WITH (FORCE)", "verify_copy")

    def verify(
        self, tenant_id: str | None = None, reconciliation_id: str | None = None
    ) -> Verified:
        """Verify the copy."""
        with connect(self.url_of("verify_copy"), "operator") as conn:
            return verify(conn, *of_kafka(self.settings), tenant_id, reconciliation_id)


def of_kafka(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """What verification needs to ask Kafka."""
    topics = [settings.topic(f"transactions.{side}") for side in ("source", "target")]
    return topics, settings.kafka_config()


def send(settings: Settings, value: bytes) -> tuple[int, int]:
    """Send a message to the source topic; its partition and offset."""
    placed: list[tuple[int, int]] = []
    producer = Producer(settings.kafka_config())
    producer.produce(
        settings.topic("transactions.source"),
        value,
        on_delivery=lambda _error, sent: placed.append((sent.partition(), sent.offset())),
    )
    assert producer.flush(20) == 0
    return placed[0]


def statement(text: str) -> Callable[[psycopg.Connection, Past], None]:
    def run(conn: psycopg.Connection, _past: Past) -> None:
        assert conn.execute(text.encode()).rowcount >= 1, text

    return run


def event(kind: str, change: Callable[[list], None]) -> Callable[[psycopg.Connection, Past], None]:
    """Change the first event of a kind within its batch."""

    def run(conn: psycopg.Connection, _past: Past) -> None:
        position, text = conn.execute(
            "SELECT last_position, events FROM event_store WHERE events LIKE %s "
            "ORDER BY last_position LIMIT 1",
            (f'%["{kind}",%',),
        ).fetchone()
        events = json.loads(text)
        change(next(one for one in events if one[0] == kind))
        conn.execute(
            "UPDATE event_store SET events = %s WHERE last_position = %s",
            (json.dumps(events), position),
        )

    return run


def put(at: int, value: object) -> Callable[[list], None]:
    def change(fields: list) -> None:
        assert fields[at] != value
        fields[at] = value

    return change


def add_one(at: int) -> Callable[[list], None]:
    def change(fields: list) -> None:
        fields[at] += 1

    return change


def store_a_batch_twice(conn: psycopg.Connection, _past: Past) -> None:
    """As a zombie without fences would."""
    with conn.transaction():
        conn.execute(
            """
            INSERT INTO event_store (first_position, last_position, stream_id, tenant_id,
                reconciliation_id, base_version, event_count, format, events, journal, metadata)
            SELECT head.position + 1, head.position + event_count, stream_id, tenant_id,
                reconciliation_id, version, event_count, format, events, journal, metadata
            FROM event_store JOIN streams USING (stream_id, tenant_id, reconciliation_id),
                log_head AS head
            WHERE journal IS NOT NULL ORDER BY last_position LIMIT 1
            """
        )
        conn.execute(
            """
            WITH last AS (SELECT * FROM event_store ORDER BY last_position DESC LIMIT 1),
                moved AS (UPDATE streams SET version = version + event_count
                          FROM last WHERE streams.stream_id = last.stream_id)
            UPDATE log_head SET position = last.last_position FROM last
            """
        )


def restore_an_earlier_log(conn: psycopg.Connection, _past: Past) -> None:
    """Log and streams as of before the last batch, read models as of after it."""
    conn.execute(
        """
        WITH gone AS (DELETE FROM event_store
                      WHERE last_position = (SELECT max(last_position) FROM event_store)
                      RETURNING stream_id, base_version, first_position),
            back AS (UPDATE streams SET version = base_version
                     FROM gone WHERE streams.stream_id = gone.stream_id)
        UPDATE log_head SET position = first_position - 1 FROM gone
        """
    )


def read_past_a_message(conn: psycopg.Connection, past: Past) -> None:
    """A message that the checkpoint is behind and nobody took in."""
    record = {
        "tenant_id": "acme",
        "reconciliation_id": "unheard-of",
        "transaction_id": "lost-1",
        "amount": "1.00",
        "currency": "EUR",
        "occurred_at": "2026-01-05",
    }
    partition, offset = send(past.settings, json.dumps(record).encode())
    conn.execute(
        "UPDATE source_checkpoints SET next_offset = %s WHERE topic = %s AND partition = %s",
        (offset + 1, past.settings.topic("transactions.source"), partition),
    )


LETTER = 'WHERE ctid = (SELECT ctid FROM dead_letter_queue WHERE {} ORDER BY topic, partition, \
"offset" LIMIT 1)'
WITH_SCOPE = "tenant_id IS NOT NULL AND reconciliation_id IS NOT NULL"
MIDDLE = "(SELECT last_position FROM event_store ORDER BY last_position OFFSET 5 LIMIT 1)"
ONE_MATCH = "WHERE ctid = (SELECT ctid FROM matches LIMIT 1)"

WRONG: dict[str, tuple[Callable[[psycopg.Connection, Past], None], str]] = {
    "a batch is gone": (
        statement(f"DELETE FROM event_store WHERE last_position = {MIDDLE}"),
        r"log: position \d+ was to follow",
    ),
    "a batch is gone, its stream": (
        statement(f"DELETE FROM event_store WHERE last_position = {MIDDLE}"),
        r"log: version \d+ was to follow",
    ),
    "a batch is there twice": (store_a_batch_twice, r"was accepted twice"),
    "the log is of an earlier moment": (
        restore_an_earlier_log,
        r"read_models: matches shows events up to position \d+, the log ends at \d+",
    ),
    "the head is further": (
        statement("UPDATE log_head SET position = position + 1"),
        r"log: the log ends at position \d+, its head says \d+",
    ),
    "a stream's row is further": (
        statement(
            "UPDATE streams SET version = version + 1 "
            "WHERE stream_id = (SELECT min(stream_id) FROM streams)"
        ),
        r"log: the row of streams is at version \d+, the log ends at \d+",
    ),
    "a stream's row is gone": (
        statement("DELETE FROM streams WHERE stream_id = (SELECT min(stream_id) FROM event_store)"),
        r"log: the log has batches of a stream without a row",
    ),
    "a journal is another's": (
        statement(
            "UPDATE event_store SET journal = (SELECT journal FROM event_store WHERE journal IS "
            "NOT NULL ORDER BY last_position DESC LIMIT 1) WHERE last_position = (SELECT "
            "min(last_position) FROM event_store WHERE journal IS NOT NULL)"
        ),
        r"journal: ",
    ),
    "a bit of a journal is another": (
        statement(
            "UPDATE event_store SET journal = set_bit(journal, 999, 1 - get_bit(journal, 999)) "
            "WHERE last_position = (SELECT max(last_position) FROM event_store WHERE "
            "length(journal) > 200)"
        ),
        r"journal: the journal cannot be read",
    ),
    "a journal's sum is another": (
        event("TransactionsAccepted", lambda fields: fields[1][0].__setitem__(3, 1)),
        r"journal: the log counts \d+ \w+ transactions in \w+ with a sum of 1 minor",
    ),
    "a match tells another sum": (
        event("RecordMatched", add_one(7)),
        r"conservation: the match by .* tells a source sum of -?\d+",
    ),
    "a match tells another currency": (
        event("RecordMatched", put(6, "XAF")),
        r"conservation: .* the match by .* in XAF",
    ),
    "a match has a member nobody accepted": (
        event("RecordMatched", put(5, ["nobody"])),
        r"conservation: target transaction nobody was never accepted",
    ),
    "a dead letter is gone": (
        statement(f"DELETE FROM dead_letter_queue {LETTER.format(WITH_SCOPE)}"),
        r"dead_letters: \d+ records of .* were rejected, the dead letters hold \d+",
    ),
    "a dead letter of nobody is gone": (
        statement(f"DELETE FROM dead_letter_queue {LETTER.format('tenant_id IS NULL')}"),
        r"kafka: the message at .* is committed, yet neither accepted nor a dead letter",
    ),
    "a message was read past": (
        read_past_a_message,
        r"kafka: .* \(source transaction lost-1\) is committed, yet neither accepted nor",
    ),
    "Kafka ends before what was committed": (
        statement("UPDATE source_checkpoints SET next_offset = next_offset + 1000"),
        r"kafka: .* ends at offset \d+, though those below \d+ were read and committed",
    ),
    "a match is not shown": (
        statement(f"DELETE FROM matches {ONE_MATCH}"),
        r"read_models: matches shows \d+ \w+ matches in \w+, the log has \d+",
    ),
    "a match is shown with another sum": (
        statement(f"UPDATE matches SET target_minor = target_minor + 1 {ONE_MATCH}"),
        r"read_models: matches shows \(.*\) minor units on the sides of",
    ),
    "an exception is not shown": (
        statement(
            "DELETE FROM exceptions WHERE ctid = (SELECT ctid FROM exceptions WHERE "
            "status = 'open' LIMIT 1)"
        ),
        r"read_models: exceptions shows \d+ open exceptions, the log has \d+",
    ),
    "the summary shows more": (
        statement(
            "UPDATE reconciliation_summary SET redelivered = redelivered + 1 "
            "WHERE ctid = (SELECT min(ctid) FROM reconciliation_summary)"
        ),
        r"read_models: reconciliation_summary shows \d+ redelivered, the log has \d+",
    ),
    "the totals show more": (
        statement(
            "UPDATE reconciliation_totals SET accepted_minor = accepted_minor + 1 "
            "WHERE ctid = (SELECT min(ctid) FROM reconciliation_totals)"
        ),
        r"read_models: reconciliation_totals shows -?\d+ \w+ \w+ accepted minor units",
    ),
    "a reconciliation is shown that is not there": (
        statement(
            'INSERT INTO exceptions SELECT (jsonb_populate_record(one, \'{"reconciliation_id": '
            '"unheard-of", "exception_id": "00000000-0000-0000-0000-000000000000"}\')).* '
            "FROM exceptions AS one LIMIT 1"
        ),
        r"read_models: the read models show it, the log has nothing of it",
    ),
}
