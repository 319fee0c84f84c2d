"""Who a session is, how long it may hold things, and what the store says of its size."""

import psycopg
import pytest

from connectors.postgres.connections import LIMITS, connect, url_of
from connectors.postgres.metrics import measure_sizes
from connectors.postgres.writing import commit_flush
from tests.integration.postgres.commits import claim, commit_of


def show(conn: psycopg.Connection, setting: str) -> str:
    return conn.execute("SELECT current_setting(%s)", (setting,)).fetchone()[0]


def test_a_session_has_its_roles_name_and_limits(connect_as):
    for role in LIMITS:
        conn = connect_as(role)
        user, application = conn.execute(
            "SELECT current_user, current_setting('application_name')"
        ).fetchone()
        assert (user, application) == (f"settler_{role}", f"settler-{role}")
        assert show(conn, "timezone") == "UTC"
    assert show(connect_as("flow"), "idle_in_transaction_session_timeout") == "10s"
    assert show(connect_as("api"), "statement_timeout") == "10s"


def test_a_process_that_stops_in_mid_transaction_frees_the_log(flow, connect_as, database):
    """Its row lock on the log's head would hold every writer back for ever."""
    stuck = connect_as("flow")
    held = claim(flow)
    stuck.execute("SET idle_in_transaction_session_timeout = 50")
    stuck.execute("BEGIN")
    stuck.execute("UPDATE log_head SET position = position + 1")
    assert commit_flush(flow, [commit_of(0, 1, held.fence)], []) == 1
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        stuck.execute("SELECT 1")


def test_a_password_is_not_told(database):
    url = database.url.replace(database.server._password, "wrong-secret")
    with pytest.raises(psycopg.OperationalError) as raised:
        connect(url, "flow")
    assert "wrong-secret" not in str(raised.value)


def test_each_role_has_its_url(make_settings):
    settings = make_settings(
        database_url="postgresql://h/owner", database_url_flow="postgresql://h/flow"
    )
    urls = {role: url_of(settings, role) for role in LIMITS}
    assert urls == {
        "flow": "postgresql://h/flow",
        "projections": "postgresql://h/owner",
        "api": "postgresql://h/owner",
        "operator": "postgresql://h/owner",
    }


def test_sizes_are_measured(flow):
    held = claim(flow)
    commit_flush(flow, [commit_of(0, 2_000, held.fence)], [])
    sizes = measure_sizes(flow)
    assert sizes["event_store"] > 100_000
    assert {"streams", "matches", "dead_letter_queue"} <= sizes.keys()
