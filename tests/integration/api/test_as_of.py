"""Figures of the past: those the read model showed then, at every position and instant."""

import httpx
import psycopg
import pytest

from connectors.postgres.connections import connect
from tests.integration.api.rows import add_tenant
from tests.integration.api.serving import serving
from tests.integration.projections.conftest import World
from tests.unit.projections.histories import history

PATH = "/api/v1/reconciliations/{}/summary"
SHOWN = """
SELECT s.*, (
    SELECT jsonb_agg(t ORDER BY side, currency) FROM reconciliation_totals AS t
    WHERE (t.tenant_id, t.reconciliation_id) = (s.tenant_id, s.reconciliation_id)) AS totals
FROM reconciliation_summary AS s
"""


@pytest.fixture(scope="module")
def database(postgres_server, template_database, populated_url):
    """The name that `World` expects; a database of this module alone."""
    return populated_url


@pytest.fixture(scope="module")
def told(database, api_settings):
    """What the read model showed after each batch: tenant, reconciliation → position → row."""
    rows: dict[tuple[str, str], dict[int, dict]] = {}
    with (
        psycopg.connect(database, autocommit=True) as owner,
        connect(database, "projections") as reader,
        connect(database, "projections") as writer,
    ):
        world = World(api_settings(database_url=database), owner, reader, writer)
        for row in history(11, steps=40)[0]:
            head = world.store([row])
            world.feed()
            for shown in owner.cursor(row_factory=psycopg.rows.dict_row).execute(SHOWN):
                key = (shown["tenant_id"], shown["reconciliation_id"])
                rows.setdefault(key, {})[head] = shown
    return rows


@pytest.fixture(scope="module")
def served(database, told, api_settings):
    """The API, and a client for each tenant of the history."""
    with psycopg.connect(database, autocommit=True) as owner:
        tenants = {name: add_tenant(owner, name) for name in ("t-0", "t-1", "globex")}
    with serving(api_settings(database_url=database)) as url:
        clients = {
            name: httpx.Client(base_url=url, headers=tenant.headers, timeout=10, trust_env=False)
            for name, tenant in tenants.items()
        }
        yield clients
        for client in clients.values():
            client.close()


def same(answer: dict, row: dict) -> bool:
    transactions = answer["transactions"]
    pairs = [
        (answer["name"], row["name"]),
        (answer["status"], row["status"]),
        (answer["definition_version"], row["definition_version"]),
        (answer["position"], row["position"]),
        (transactions["accepted_source"], row["accepted_source"]),
        (transactions["accepted_target"], row["accepted_target"]),
        (transactions["pending"], row["pending"]),
        (transactions["matched"], row["transactions_matched"]),
        (transactions["suggested"], row["transactions_suggested"]),
        (transactions["exception"], row["transactions_exception"]),
        (transactions["duplicate"], row["duplicates"]),
        (transactions["superseded"], row["superseded"]),
        *(
            (answer[name], row[name])
            for name in (
                "matches_confirmed", "suggestions_open", "exceptions_open", "exceptions_resolved",
                "redelivered", "rejected",
            )
        ),
    ]  # fmt: skip
    for total, kept in zip(answer["totals"], row["totals"] or [], strict=True):
        digits = 100 if kept["currency"] == "EUR" else 1
        for place in ("accepted", "pending", "matched", "suggested", "exception", "duplicate"):
            pairs.append((total[place]["count"], kept[f"{place}_count"]))
            pairs.append((round(float(total[place]["amount"]) * digits), kept[f"{place}_minor"]))
    assert all(mine == theirs for mine, theirs in pairs), pairs
    return True


def test_every_position_shows_what_the_read_model_showed_there(served, told):
    compared = 0
    for (tenant, name), rows in told.items():
        for position, row in rows.items():
            answer = served[tenant].get(PATH.format(name), params={"as_of": str(position)})
            assert answer.status_code == 200, answer.text
            compared += same(answer.json(), row)
    assert compared > 60
    newest = {key: rows[max(rows)] for key, rows in told.items()}
    for (tenant, name), row in newest.items():
        now = served[tenant].get(PATH.format(name)).json()
        assert same(now, row)
        then = served[tenant].get(PATH.format(name), params={"as_of": str(row["position"])})
        assert then.json() == now


def test_an_instant_shows_what_was_stored_by_then(served, told, database):
    with psycopg.connect(database) as owner:
        owner.execute("SET timezone = 'UTC'")
        stored = owner.execute(
            "SELECT tenant_id, reconciliation_id, last_position, created_at FROM event_store"
            " ORDER BY last_position"
        ).fetchall()
    # What people did is stored at the instant of the batch before it.
    newest = {(tenant, name, at): position for tenant, name, position, at in stored}
    assert len(newest) < len(stored)
    for (tenant, name, at), position in newest.items():
        answer = served[tenant].get(PATH.format(name), params={"as_of": at.isoformat()})
        assert same(answer.json(), told[tenant, name][position])


def asked_anew(position: int, width: int) -> dict[str, str]:
    """Ask about a position in so many digits: answers to the same words are kept."""
    return {"as_of": str(position).zfill(width)}


def test_the_same_moment_gives_the_same_bytes(served, told):
    (tenant, name), rows = next(iter(told.items()))
    for position in list(rows)[::5]:
        first, second = (
            served[tenant].get(PATH.format(name), params=asked_anew(position, width))
            for width in (8, 9)
        )
        assert first.content == second.content
        assert first.headers["etag"] == second.headers["etag"]


@pytest.mark.parametrize(
    ("as_of", "status", "code"),
    [
        ("yesterday", 400, "invalid_parameter"),
        ("2026-03-02", 400, "invalid_parameter"),
        ("-1", 400, "invalid_parameter"),
        ("999999999", 400, "invalid_parameter"),
        ("2999-01-01T00:00:00Z", 400, "invalid_parameter"),
        ("0", 404, "not_found"),
        ("2000-01-01T00:00:00Z", 404, "not_found"),
    ],
)
def test_what_is_no_moment_of_the_past_is_refused(served, as_of, status, code):
    answer = served["t-0"].get(PATH.format("r-0"), params={"as_of": as_of})
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text


def test_another_tenants_past_is_not_found(served, told):
    for (_, name), rows in told.items():
        answer = served["globex"].get(PATH.format(name), params={"as_of": str(max(rows))})
        assert answer.status_code == 404


@pytest.mark.parametrize("limit", ["EVENTS_MAX", "BYTES_MAX"])
def test_a_past_too_large_for_a_request_is_refused(served, told, monkeypatch, limit):
    (tenant, name), rows = next(iter(told.items()))
    monkeypatch.setattr(f"api.as_of.{limit}", 10)
    answer = served[tenant].get(PATH.format(name), params=asked_anew(max(rows), 10))
    assert (answer.status_code, answer.json().get("error")) == (422, "as_of_too_large")
    assert "settler replay" in answer.json()["message"]


def test_a_past_of_many_pieces_is_the_same(served, told, monkeypatch):
    (tenant, name), rows = next(iter(told.items()))
    whole = served[tenant].get(PATH.format(name), params=asked_anew(max(rows), 11))
    monkeypatch.setattr("api.as_of.PIECE_BYTES", 1)
    pieces = served[tenant].get(PATH.format(name), params=asked_anew(max(rows), 12))
    assert (pieces.status_code, pieces.content) == (200, whole.content)
