"""A real Apache Kafka that tests may kill: it keeps its data, and everybody waits for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from deploy.kafka.server import ApacheKafka
from tests.conftest import TEST_BROKER
from tests.kafka.playing import Play


@pytest.fixture
def kafka(request) -> ApacheKafka:
    """The shared broker, which is a real Kafka under `make test-kafka` only."""
    if TEST_BROKER != "apache":
        pytest.skip("takes a real Apache Kafka: make test-kafka")
    return request.getfixturevalue("broker")


@pytest.fixture
def play_of(kafka, database, environment, settings, tmp_path) -> Iterator[Callable[..., Play]]:
    """Make a flow and projections with a load; they end with the test."""
    with ExitStack() as opened:

        @contextmanager
        def play(**options) -> Iterator[Play]:
            with database.connect(autocommit=True) as conn:
                made = Play(environment, settings, conn, tmp_path, **options)
                try:
                    yield made
                finally:
                    made.end()

        yield lambda **options: opened.enter_context(play(**options))
