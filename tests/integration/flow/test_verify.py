"""`settler verify` against what a real flow left behind, with one thing at a time made wrong."""

import re
import threading
from collections.abc import Iterator
from functools import partial

import psycopg
import pytest
from psycopg import sql

from connectors.postgres.checkpoints import reset_offsets
from connectors.postgres.connections import connect
from connectors.postgres.retention import expire_journals, list_reconciliations
from connectors.settings import Settings
from deploy.verdict import differences
from deploy.verification.run import StreamUnknown, verify
from domain.verification.difference import Difference
from tests.integration.flow.corruptions import WRONG, Past, of_kafka, send
from tests.integration.flow.running import (
    Load,
    Role,
    define,
    eventually,
    wait_until_defined,
)
from tests.integration.flow.running import verify as settler_verify

TRANSACTIONS = 3_000


@pytest.fixture(scope="module")
def past(postgres_server, template_database, broker, valkey, tmp_path_factory) -> Iterator[Past]:
    from deploy.embedded import TOPICS

    def administer(statement: str, *names: str) -> None:
        with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    name, prefix = "verify_past", "verify"
    logs = tmp_path_factory.mktemp("verify")
    broker.create_topics([f"{prefix}.{one}" for one in TOPICS], partitions=2)
    administer("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template_database)
    environment = {
        "SETTLER_DATABASE_URL": postgres_server.url(name),
        "SETTLER_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SETTLER_TOPIC_PREFIX": prefix,
        "SETTLER_REDIS_URL": valkey.url,
        "SETTLER_METRICS_PORT": "0",
        "SETTLER_LOG_FORMAT": "console",
    }
    fields = {key.removeprefix("SETTLER_").lower(): value for key, value in environment.items()}
    settings = Settings(_env_file=None, **fields)
    flow = Role(environment, logs / "flow.log", "flow")
    projections = Role(environment, logs / "projections.log", "projections")
    load = Load(TRANSACTIONS, 11, settings.kafka_config(), prefix)
    with (
        psycopg.connect(postgres_server.url(name), autocommit=True) as conn,
        flow.running(),
        projections.running(),
    ):
        for definition in load.workload.definitions(idle_seconds=1):
            define(conn, definition)
        wait_until_defined(conn)
        for _ in range(3):
            load.send(TRANSACTIONS // 3)
        load.finish()
        eventually(60, "the truth", lambda: not differences(conn, load.facts))
        send(settings, b"{")
        unreadable = "SELECT 1 FROM dead_letter_queue WHERE tenant_id IS NULL"
        eventually(20, "a letter of nobody", lambda: conn.execute(unreadable).fetchone())
        assert flow.stop() == 0, flow.log()[-2000:]
        eventually(20, "read models at the head", lambda: _behind(conn) == 0)
        assert projections.stop() == 0, projections.log()[-2000:]
    yield Past(settings, administer, name, postgres_server.url)
    administer("DROP DATABASE {} WITH (FORCE)", name)


def _behind(conn) -> int:
    query = "SELECT position - (SELECT min(position) FROM projection_checkpoints) FROM log_head"
    return conn.execute(query).fetchone()[0]


def test_what_a_flow_left_holds(past):
    with past.copy():
        verified = past.verify()
    assert verified.differences == []
    assert verified.kafka.state == "agrees", verified.kafka
    assert not any(verified.read_models_behind.values())
    assert verified.kafka.messages == sum(verified.kafka.outcomes.values())
    assert verified.kafka.messages >= TRANSACTIONS
    assert all(verified.kafka.outcomes.values()), "each outcome is there, so each can be missed"
    accepted = sum(totals.accepted() for totals in verified.streams.values())
    assert verified.kafka.outcomes["accepted"] == accepted


# One thing made wrong ------------------------------------------------------------------------


def said(difference: Difference) -> str:
    return f"{difference.kind}: {difference.problem}"


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_made_wrong_is_named(past, name):
    corrupt, problem = WRONG[name]
    with past.copy() as conn:
        corrupt(conn, past)
        verified = past.verify()
    found = [said(one) for one in verified.differences]
    assert any(re.search(problem, one) for one in found), found
    assert all(one.hint for one in verified.differences)
    assert not verified.holds


def test_what_kafka_has_of_expired_journals_is_passed_over(past):
    with past.copy() as conn:
        (some,) = conn.execute(
            "SELECT created_at FROM event_store WHERE journal IS NOT NULL "
            "ORDER BY created_at OFFSET 1 LIMIT 1"
        ).fetchone()
        with connect(past.url_of("verify_copy"), "operator") as operator:
            for scope in list_reconciliations(operator, None):
                expire_journals(operator, *scope, some)
        verified = past.verify()
    assert verified.differences == []
    assert verified.kafka.state == "agrees", verified.kafka
    unseen = sum(one.transactions for one in verified.expired.values())
    assert 0 < unseen <= verified.kafka.outcomes["expired"] < TRANSACTIONS
    assert verified.kafka.messages == sum(verified.kafka.outcomes.values())


def test_what_is_wrong_in_one_stream_hides_nothing_of_another(past):
    with past.copy() as conn:
        conn.execute("UPDATE streams SET version = version + 1")
        streams = conn.execute("SELECT count(*) FROM streams").fetchone()[0]
        verified = past.verify()
    assert len(verified.differences) == streams > 1
    assert len({one.where.stream_id for one in verified.differences}) == streams


def test_one_stream_can_be_verified_alone(past):
    with past.copy() as conn:
        (wrong, right), *_ = zip(
            *[iter(one for (one,) in conn.execute("SELECT stream_id FROM streams"))] * 2,
            strict=False,
        )
        conn.execute("UPDATE streams SET version = version + 1 WHERE stream_id = %s", (wrong,))
        for stream_id, holds in ((wrong, False), (right, True)):
            tenant_id, reconciliation_id = stream_id.split("/")
            verified = past.verify(tenant_id=tenant_id, reconciliation_id=reconciliation_id)
            assert verified.holds is holds
        assert list(verified.streams) == [right]
        assert 0 < verified.kafka.messages < TRANSACTIONS
        with pytest.raises(StreamUnknown, match="there is no stream nobody"):
            past.verify(tenant_id="nobody")


def test_read_models_that_are_behind_are_compared_as_of_where_they_stand(past):
    """Each began at another position, as after a stop of the projections in mid-flight."""
    with past.copy() as conn:
        conn.execute("TRUNCATE matches, exceptions")
        conn.execute(
            "UPDATE projection_checkpoints SET position = 0 WHERE name IN ('matches', 'exceptions')"
        )
        verified = past.verify()
        assert verified.differences == []
        assert verified.read_models_behind["matches"] == verified.head
        assert verified.read_models_behind["reconciliation_summary"] == 0
        conn.execute("UPDATE projection_checkpoints SET position = 1 WHERE name = 'exceptions'")
        assert past.verify().differences == []
        conn.execute(
            "UPDATE projection_checkpoints SET position = (SELECT position - 1 FROM log_head) "
            "WHERE name = 'matches'"
        )
        assert past.verify().differences


# As an operator runs it -------------------------------------------------------------------------


def test_exit_codes_say_what_came_of_it(database, environment, settings):
    command = {name: value for name, value in environment.items() if "REDIS" not in name}
    report = settler_verify(command)
    assert (report["exit_code"], report["streams"]) == (0, []), "an empty store holds"
    with database.connect() as conn:
        conn.execute("UPDATE log_head SET position = 7")
        conn.commit()
    report = settler_verify(command, "--no-kafka")
    assert report["exit_code"] == 1
    (difference,) = report["differences"]
    assert difference["problem"] == "the log ends at position 0, its head says 7"
    with database.connect() as conn:
        conn.execute("UPDATE log_head SET position = 0")
        conn.execute(
            "INSERT INTO source_checkpoints (topic, partition, next_offset, cluster_id, topic_id) "
            "VALUES (%s, 0, 0, 'c', 't')",
            (settings.topic("transactions.source"),),
        )
        conn.commit()
    gone = command | {"SETTLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    report = settler_verify(gone)
    assert (report["exit_code"], report["kafka"]["state"]) == (2, "unreadable")
    assert settler_verify(gone, "--no-kafka")["exit_code"] == 0
    with pytest.raises(AssertionError, match="the database cannot be used"):
        settler_verify(command | {"SETTLER_DATABASE_URL": "postgresql://x:y@127.0.0.1:1/z"})


def test_it_holds_at_any_moment_of_a_running_flow(database, environment, settings, tmp_path):
    flow = Role(environment, tmp_path / "flow.log", "flow")
    projections = Role(environment, tmp_path / "projections.log", "projections")
    load = Load(9_000, 5, settings.kafka_config(), settings.topic_prefix)
    with database.connect(autocommit=True) as conn, flow.running(), projections.running():
        # The load comes from this process, which verifies at the same time: it may stand still for
        # a second or two, and that is no silence.
        for definition in load.workload.definitions(idle_seconds=6):
            define(conn, definition)
        wait_until_defined(conn)
        sending = threading.Thread(target=load.finish)
        heads = set()

        def held(operator: psycopg.Connection) -> bool:
            verified = verify(operator, *of_kafka(settings))
            assert verified.differences == []
            assert verified.kafka.problem is None
            heads.add(verified.head)
            return len(heads) > 3 and not differences(conn, load.facts)

        sending.start()
        with connect(database.url, "operator") as operator:
            grown = "the truth, having grown step by step"
            eventually(60, grown, partial(held, operator), resting=False)
        sending.join()


def test_it_holds_after_the_topics_were_read_again_from_their_start(
    database, environment, settings, tmp_path
):
    flow = Role(environment, tmp_path / "flow.log", "flow")
    projections = Role(environment, tmp_path / "projections.log", "projections")
    load = Load(3_000, 4, settings.kafka_config(), settings.topic_prefix)
    letters = "SELECT count(*) FROM dead_letter_queue"
    offsets = "SELECT sum(next_offset) FROM source_checkpoints"
    with database.connect(autocommit=True) as conn, projections.running():
        with flow.running():
            for definition in load.workload.definitions(idle_seconds=1):
                define(conn, definition)
            wait_until_defined(conn)
            load.finish()
            eventually(60, "the truth", lambda: not differences(conn, load.facts))
            assert flow.stop() == 0, flow.log()[-2000:]
        refused, read_to = conn.execute(letters).fetchone()[0], conn.execute(offsets).fetchone()
        topics, config = of_kafka(settings)
        with connect(database.url, "operator") as operator:
            before = verify(operator, topics, config)
            assert reset_offsets(operator, topics).dead_letters == refused > 0
            assert verify(operator, topics, config).differences == []
            with flow.running():
                eventually(
                    60, "all read again", lambda: conn.execute(offsets).fetchone() == read_to
                )
                assert flow.stop() == 0, flow.log()[-2000:]
            after = verify(operator, topics, config)
        assert conn.execute(letters).fetchone()[0] == 2 * refused
    assert after.differences == before.differences == []
    assert after.kafka.state == "agrees", after.kafka
    assert after.kafka.outcomes == before.kafka.outcomes
    accepted = [sum(one.accepted() for one in found.streams.values()) for found in (before, after)]
    assert accepted[0] == accepted[1]
