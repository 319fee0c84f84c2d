"""Every runbook, walked through: its commands do what it says, and the end is the truth."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from connectors.postgres.connections import connect_as_owner
from connectors.postgres.migrations import migrate
from connectors.synthetic.facts import Facts
from connectors.synthetic.topics import LoadProducer
from connectors.synthetic.workload import Rates, Workload, ending_before
from deploy.verdict import differences, read_stored_facts
from tests.integration.flow.running import (
    Load,
    Role,
    define,
    eventually,
    gaps_of,
    holds,
    under_load,
    wait_until_defined,
)
from tests.integration.flow.shell import Shell, commands_of, shell

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks"
START = (
    "settler run flow > flow.log 2>&1 & echo $! > flow.pid",
    "until settler flow status > status.txt; do sleep 0.5; done",
)
RESTORED = "settler_restored"


@pytest.fixture
def settled(environment):
    """What the commands of a runbook find in their environment; switches take a second."""
    return environment | {"SETTLER_LEASE_SECONDS": "1", "SETTLER_LOG_FORMAT": "json"}


@pytest.fixture
def programs(database) -> Path:
    """Where Postgres's own commands are."""
    return Path(database.server._program("pg_dump")).parent


def head(conn) -> int:
    return conn.execute("SELECT position FROM log_head").fetchone()[0]


@contextmanager
def defined(conn, load: Load, typing: Shell) -> Iterator[None]:
    """A flow that the shell has started, with its definitions, under load."""
    for command in START:
        typing.run(command)
    for definition in load.workload.definitions(idle_seconds=6):
        define(conn, definition)
    wait_until_defined(conn)
    with under_load(load):
        yield


def test_every_runbook_is_walked_through():
    walked = {"scaling", "upgrading", "restoring", "poisoned-message", "lost-topic"}
    assert {one.stem for one in RUNBOOKS.glob("*.md")} == walked
    assert all(commands_of(one) for one in RUNBOOKS.glob("*.md"))


@pytest.mark.parametrize("name", ["scaling", "upgrading"])
def test_a_switch_under_load(name, database, settled, settings, tmp_path):
    load = Load(4_000, 31, settings.kafka_config(), settings.topic_prefix)
    projections = Role(settled, tmp_path / "projections.log", "projections")
    with (
        database.connect(autocommit=True) as conn,
        projections.running(),
        shell(settled, tmp_path) as typing,
    ):
        with defined(conn, load, typing):
            typing.walk(RUNBOOKS / f"{name}.md", {})
        eventually(90, "the truth", lambda: not differences(conn, load.facts))
        assert gaps_of(conn) == []
    holds(settled)


def test_a_database_restored_from_a_backup_taken_mid_stream_comes_to_the_same_end(
    database, settled, settings, programs, tmp_path
):
    load = Load(5_000, 37, settings.kafka_config(), settings.topic_prefix)
    projections = Role(settled, tmp_path / "old-projections.log", "projections")
    restored = database.server.url(RESTORED)
    heads = []

    def more() -> None:
        """The system goes on after the backup: what it decides now is lost with the database."""
        with database.connect(autocommit=True) as conn:
            heads.append(head(conn))
            eventually(30, "more after the backup", lambda: head(conn) > heads[0] + 200)

    def as_it_was() -> None:
        with psycopg.connect(restored, autocommit=True) as conn:
            assert 0 < head(conn) <= heads[0], "the backup is of before"

    try:
        with (
            database.connect(autocommit=True) as conn,
            projections.running(),
            shell(settled, tmp_path, programs) as typing,
        ):
            with defined(conn, load, typing):
                eventually(30, "some are committed", lambda: head(conn) > 200)
                typing.walk(RUNBOOKS / "restoring.md", {"pg_dump": more, "pg_restore": as_it_was})
            with psycopg.connect(restored, autocommit=True) as again:
                eventually(90, "the truth", lambda: not differences(again, load.facts))
                assert gaps_of(again) == []
            holds(settled | {"SETTLER_DATABASE_URL": restored})
    finally:
        with psycopg.connect(database.server.url("postgres"), autocommit=True) as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {RESTORED} WITH (FORCE)")


def test_a_poisoned_message(database, settled, settings, tmp_path):
    rates = replace(Rates(), invalid=0.05)
    load = Load(2_000, 41, settings.kafka_config(), settings.topic_prefix, rates)
    projections = Role(settled, tmp_path / "projections.log", "projections")
    poisoned = "SELECT count(*) FROM dead_letter_queue WHERE code = 'unknown_currency'"
    with (
        database.connect(autocommit=True) as conn,
        projections.running(),
        shell(settled, tmp_path) as typing,
    ):
        with defined(conn, load, typing):
            eventually(30, "a poisoned one", lambda: conn.execute(poisoned).fetchone()[0])
            typing.walk(RUNBOOKS / "poisoned-message.md", {})
        # The letter that was taken up and refused once more counts as dealt with.
        eventually(
            60,
            "the truth",
            lambda: (
                [one.kind for one in differences(conn, load.facts) if one.count] == ["dead letter"]
            ),
        )
    holds(settled)


def test_a_lost_topic(own_stack, tmp_path):
    environment = own_stack.environment() | {
        "SETTLER_METRICS_PORT": "0",
        # A flow that refuses to start is not to keep the next command waiting.
        "SETTLER_LEASE_SECONDS": "600",
    }
    facts = Facts()
    ending_at_us = ending_before(time.time_ns() // 1000)
    rates = replace(Rates(), conflicting=0.0, repeated=0.0, invalid=0.0)
    workload = Workload(seed=43, transactions=3_000, ending_at_us=ending_at_us, rates=rates)
    messages = [one for block in workload.blocks(facts) for one in block]

    def send(some) -> None:
        config = {"bootstrap.servers": own_stack.broker.bootstrap_servers}
        producer = LoadProducer(config, own_stack.topic_prefix)
        for side, key, value in some:
            producer.send(side, key, value)
        producer.finish()

    def same(conn) -> bool:
        stored = read_stored_facts(conn)
        return (
            sorted(map(str, stored.matches)) == sorted(map(str, facts.matches))
            and sorted(map(str, stored.exceptions)) == sorted(map(str, facts.exceptions))
            and stored.accepted == facts.accepted
        )

    projections = Role(environment, tmp_path / "projections.log", "projections")
    with connect_as_owner(own_stack.postgres.url()) as conn:
        migrate(conn)
        with projections.running(), shell(environment, tmp_path) as typing:
            for command in START:
                typing.run(command)
            for definition in workload.definitions(idle_seconds=8):
                define(conn, definition)
            wait_until_defined(conn)
            send(messages[: len(messages) // 2])
            eventually(30, "some are committed", lambda: head(conn) > 100)
            typing.run('kill -TERM "$(cat flow.pid)"')
            typing.run('while kill -0 "$(cat flow.pid)" 2> /dev/null; do sleep 0.2; done')
            own_stack.broker.kill()
            own_stack.broker.start()
            typing.walk(
                RUNBOOKS / "lost-topic.md",
                {"settler run flow > flow.log 2>&1 &": lambda: send(messages)},
            )
            eventually(90, "the same matches and exceptions", lambda: same(conn))
            assert gaps_of(conn) == []
