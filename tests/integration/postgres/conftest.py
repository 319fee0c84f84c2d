"""Connections under each role."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from psycopg import Connection

from connectors.postgres.connections import connect

Connect = Callable[[str], Connection]


@pytest.fixture
def connect_as(database) -> Iterator[Connect]:
    """Connect to this test's database as flow, projections, api or operator."""
    with ExitStack() as stack:

        def open_one(role: str) -> Connection:
            return stack.enter_context(connect(database.url, role))

        yield open_one


@pytest.fixture
def flow(connect_as) -> Connection:
    return connect_as("flow")
