"""Shared fixtures: real Postgres, broker and Valkey, started once for the whole run.

`database` is a fresh, migrated database of its own for each test; `topic_prefix` a fresh set of
topics; `redis_url` an emptied Valkey; `settings` points at all three. Tests that stop or kill a
service take `own_stack`, which nobody else uses. TEST_BROKER=apache puts a real Apache Kafka in the
place of the embedded broker, in both.
"""

import gc
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import structlog
from hypothesis import settings as hypothesis_settings
from psycopg import sql

from connectors.settings import PREFIX, Settings
from deploy.embedded import EmbeddedStack, Valkey
from deploy.embedded_postgres_server import PostgresServer
from deploy.kafka.distribution import Distribution, distribution
from deploy.kafka.service import KafkaService
from tests.measuring import measuring

TEST_BROKER = os.environ.get("TEST_BROKER", "embedded")
TEMPLATE = "settler_template"
NUMBERS = itertools.count(1)

# How long an example takes says how busy the machine is, not whether it holds. What is measured
# tries the same examples each time, or a line that few of them reach would be missing now and then.
hypothesis_settings.register_profile("settler", deadline=None, derandomize=bool(measuring()))
hypothesis_settings.load_profile("settler")


def pytest_collection_finish() -> None:
    """Spare the search for garbage what stays: thousands of tests, and the modules they are of."""
    gc.freeze()
    gc.set_threshold(20_000, *gc.get_threshold()[1:])


@dataclass(frozen=True)
class Database:
    """One database on the shared server."""

    name: str
    server: PostgresServer

    @property
    def url(self) -> str:
        """The owner's URL."""
        return self.server.url(self.name)

    def url_as(self, role: str) -> str:
        """A URL whose session has the rights of `role` only, such as `settler_api`."""
        return self.server.url(self.name, role)

    def connect(self, **options) -> psycopg.Connection:
        """Connect as owner."""
        return psycopg.connect(self.url, **options)


def chosen_kafka() -> Distribution | None:
    """The files of the broker that TEST_BROKER names; None for the embedded one.

    Raises:
        KafkaUnavailable: It names a real Kafka, and this machine cannot have one.
    """
    assert TEST_BROKER in ("embedded", "apache"), "TEST_BROKER is embedded or apache"
    return distribution() if TEST_BROKER == "apache" else None


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a test sets up: another's lines would go to a stream that is closed by then."""
    root, settings = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**settings)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory) -> Iterator[EmbeddedStack]:
    """The services all tests share; each is started by the first test that needs it."""
    parts = {"postgres": False, "broker": False, "valkey": False}
    stack = EmbeddedStack(**parts, topic_prefix=None, apache_kafka=chosen_kafka())
    stack.postgres.durable = False  # no test cuts the power; kill -9 loses nothing either way
    with stack:
        yield stack
        for service in (stack.postgres, stack.broker, stack.valkey):
            service.kill()


@pytest.fixture(scope="session")
def postgres_server(shared_stack) -> PostgresServer:
    """The shared Postgres."""
    shared_stack.postgres.start()
    return shared_stack.postgres


@pytest.fixture(scope="session")
def template_database(postgres_server) -> str:
    """Name of the migrated, empty database that the tests' databases are copied from."""
    from connectors.postgres.connections import connect_as_owner
    from connectors.postgres.migrations import migrate

    _administer(postgres_server, "CREATE DATABASE {}", TEMPLATE)
    with connect_as_owner(postgres_server.url(TEMPLATE)) as connection:
        migrate(connection)
    return TEMPLATE


@pytest.fixture
def database(postgres_server, template_database) -> Iterator[Database]:
    """A migrated database of this test's own."""
    yield from _fresh(postgres_server, template_database)


@pytest.fixture
def empty_database(postgres_server) -> Iterator[Database]:
    """A database of this test's own with nothing in it."""
    yield from _fresh(postgres_server, "template1")


@pytest.fixture(scope="session")
def broker(shared_stack) -> KafkaService:
    """The shared broker; name topics with `topic_prefix`."""
    shared_stack.broker.start()
    return shared_stack.broker


@pytest.fixture
def topic_prefix(broker) -> str:
    """Prefix of a fresh set of Settler's topics, four partitions each."""
    from deploy.embedded import TOPICS

    prefix = f"test-{os.getpid()}-{next(NUMBERS)}"
    broker.create_topics([f"{prefix}.{name}" for name in TOPICS], partitions=4)
    return prefix


@pytest.fixture(scope="session")
def valkey(shared_stack) -> Valkey:
    """The shared Valkey; take `redis_url` for an empty one."""
    shared_stack.valkey.start()
    return shared_stack.valkey


@pytest.fixture
def redis_url(valkey) -> str:
    """URL of the shared Valkey, emptied."""
    import redis

    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture
def make_settings(monkeypatch) -> Callable[..., Settings]:
    """Build settings from nothing but the given fields; the environment is left out."""
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)

    def make(**fields: object) -> Settings:
        return Settings(_env_file=None, **fields)

    return make


@pytest.fixture
def environment(database, broker, topic_prefix, redis_url) -> dict[str, str]:
    """SETTLER_* variables for child processes: this test's database, topics and cache."""
    return {
        "SETTLER_DATABASE_URL": database.url,
        "SETTLER_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SETTLER_TOPIC_PREFIX": topic_prefix,
        "SETTLER_REDIS_URL": redis_url,
        "SETTLER_METRICS_PORT": "0",
        "SETTLER_API_PORT": "0",
        "SETTLER_LOG_FORMAT": "console",
        **measuring(),
    }


@pytest.fixture
def settings(make_settings, environment) -> Settings:
    """The same as `environment`, for code in this process."""
    fields = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    return make_settings(**fields)


@pytest.fixture
def own_stack() -> Iterator[EmbeddedStack]:
    """A stack nobody else uses, for tests that stop, kill or freeze its parts."""
    with EmbeddedStack(apache_kafka=chosen_kafka()) as stack:
        yield stack


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root folder of the project."""
    return Path(__file__).resolve().parents[1]


def _fresh(server: PostgresServer, template: str) -> Iterator[Database]:
    name = f"test_{os.getpid()}_{next(NUMBERS)}"
    # Copying the files takes an eighth of what writing every page to the log first takes.
    _administer(server, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
    yield Database(name, server)
    _administer(server, "DROP DATABASE {} WITH (FORCE)", name)


def _administer(server: PostgresServer, statement: str, *names: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
