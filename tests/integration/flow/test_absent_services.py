"""Broker and Postgres away, at the start and in the middle: waiting, then as if nothing."""

import os
import threading
from urllib.parse import urlsplit

import psycopg
import pytest

from connectors.settings import Settings
from deploy.proxy import TcpProxy
from deploy.verdict import differences
from tests.integration.flow.running import (
    Load,
    Role,
    define,
    eventually,
    gaps_of,
    holds,
    wait_until_defined,
)

# OUTAGE_SECONDS=20 is the long form of the same test.
SECONDS = float(os.environ.get("OUTAGE_SECONDS", "4"))


def opened(conn) -> int:
    query = "SELECT count(*) FROM events WHERE event_type = 'RecordUnmatched'"
    return conn.execute(query).fetchone()[0]


@pytest.fixture
def environment(own_stack):
    from connectors.postgres.connections import connect_as_owner
    from connectors.postgres.migrations import migrate

    environment = own_stack.environment() | {
        "SETTLER_METRICS_PORT": "0",
        "SETTLER_LOG_FORMAT": "console",
        "SETTLER_HOLD_SECONDS": "1",
    }
    with connect_as_owner(environment["SETTLER_DATABASE_URL"]) as conn:
        migrate(conn)
    return environment


def test_outages_lose_nothing_and_expire_nothing(own_stack, environment, make_settings, tmp_path):
    url = environment["SETTLER_DATABASE_URL"]
    parts = urlsplit(url)
    settings = make_settings(
        **{name.removeprefix("SETTLER_").lower(): value for name, value in environment.items()}
    )
    assert isinstance(settings, Settings)
    pause = threading.Event()
    with TcpProxy(parts.port) as proxy, psycopg.connect(url, autocommit=True) as conn:
        through = url.replace(f":{parts.port}/", f":{proxy.port}/")
        flow = Role(environment | {"SETTLER_DATABASE_URL": through}, tmp_path / "flow.log", "flow")
        projections = Role(environment, tmp_path / "projections.log", "projections")
        load = Load(4_000, 13, settings.kafka_config(), settings.topic_prefix, period_days=2)
        proxy.cut()
        own_stack.broker.pause()
        with flow.running(), projections.running():
            eventually(20, "it says that it waits", lambda: "database.unavailable" in flow.log())
            proxy.restore()
            pause.wait(SECONDS / 4)
            own_stack.broker.resume()
            for definition in load.patient_definitions(idle_seconds=2):
                define(conn, definition)
            wait_until_defined(conn)
            load.send(2_000)
            own_stack.broker.pause()
            pause.wait(1.0)
            before = opened(conn)
            pause.wait(SECONDS)
            assert opened(conn) == before, "nothing expires while the broker cannot be asked"
            own_stack.broker.resume()
            load.send(1_000)
            proxy.cut()
            pause.wait(SECONDS)
            proxy.restore()
            load.finish()
            eventually(90, "the truth", lambda: not differences(conn, load.facts))
            assert gaps_of(conn) == []
            assert flow.process.poll() is None, "the same process all along"
            assert flow.stop() == 0, flow.log()[-2000:]
            holds(environment)
