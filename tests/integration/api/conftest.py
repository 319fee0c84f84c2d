"""A served API over a database with two tenants in it."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from _pytest.nodeid import coerce_node_id
from psycopg import sql

from connectors.settings import Settings
from tests.integration.api.rows import PEPPER, Tenant, add_tenant, populate
from tests.integration.api.serving import serving

NUMBERS = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests made from the description ids of their own.

    They have names by operation and one id for all, of which a distributed run takes the first
    alone. Nothing public sets an id.
    """
    for item in items:
        named = f"{item.nodeid}{item.name.removeprefix(getattr(item, 'originalname', item.name))}"
        if getattr(item, "operation_label", None) and named != item.nodeid:
            item._id = coerce_node_id(named)  # type: ignore[attr-defined]


@dataclass
class Served:
    """A running API and what is in it."""

    url: str
    database_url: str
    acme: Tenant
    globex: Tenant

    def client(self, tenant: Tenant | None = None) -> httpx.Client:
        headers = tenant.headers if tenant else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=10, trust_env=False)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.database_url, autocommit=True)


@pytest.fixture(scope="module")
def api_settings() -> Callable[..., Settings]:
    """Settings from nothing but the given fields."""

    def make(**fields: object) -> Settings:
        # Every test calls from one address, and many with a wrong key.
        given = {"api_key_pepper": PEPPER, "rate_limit_guesses": 10**6, **fields}
        return Settings(_env_file=None, **given)

    return make


@pytest.fixture(scope="module")
def populated_url(postgres_server, template_database) -> Iterator[str]:
    """URL of a database for this module alone."""
    name = f"api_{os.getpid()}_{next(NUMBERS)}"

    def administer(statement: str, *names: str) -> None:
        with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    administer("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template_database)
    yield postgres_server.url(name)
    administer("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(scope="module")
def tenants(populated_url) -> tuple[Tenant, Tenant]:
    """Two tenants, each with something of everything."""
    with psycopg.connect(populated_url, autocommit=True) as connection:
        acme, globex = add_tenant(connection, "acme"), add_tenant(connection, "globex")
        populate(connection, acme, 0)
        populate(connection, globex, 1000)
        connection.execute(
            "INSERT INTO projection_checkpoints (name, position)"
            " SELECT name, position FROM log_head,"
            " (VALUES ('reconciliation_summary'), ('definitions')) AS models (name)"
        )
    return acme, globex


@pytest.fixture(scope="module")
def served(populated_url, tenants, api_settings, valkey) -> Iterator[Served]:
    """The API over the populated database, with a cache."""
    settings = api_settings(database_url=populated_url, redis_url=valkey.url)
    with serving(settings) as url:
        yield Served(url, populated_url, *tenants)


@pytest.fixture
def client(served) -> Iterator[httpx.Client]:
    """A client with acme's key."""
    with served.client(served.acme) as of_acme:
        yield of_acme
