"""The dataflows as Bytewax's own runner finds them, by module and name."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.integration.flow.running import (
    Load,
    define,
    eventually,
    surroundings,
    wait_until_defined,
)
from tests.integration.flow.test_publish import log  # noqa: F401 - a fixture


@contextmanager
def bytewax_run(dataflow, environment):
    """`python -m bytewax.run DATAFLOW`, ended by SIGTERM; it ends well."""
    command = [sys.executable, "-m", "bytewax.run", dataflow]
    with subprocess.Popen(
        command, env={**environment, **surroundings()}, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_it_reconciles(database, environment, settings):
    load = Load(10, 3, settings.kafka_config(), settings.topic_prefix)
    with (
        database.connect(autocommit=True) as conn,
        bytewax_run("flows.reconcile:flow", environment),
    ):
        for definition in load.workload.definitions():
            define(conn, definition)
        wait_until_defined(conn)


def test_it_publishes(log, environment):  # noqa: F811
    log.commit(5)
    with bytewax_run("flows.publish:flow", environment):
        eventually(20, "all is published", log.is_published)


@pytest.mark.parametrize("module", ["flows.reconcile", "flows.publish"])
def test_there_is_no_other(module):
    __import__(module)
    with pytest.raises(AttributeError, match="dataflow"):
        sys.modules[module].dataflow  # noqa: B018
