"""Every resource shows what is there, in its outward form."""

import time

import pytest

from tests.integration.api.rows import DEFINITION


def get(client, path, expect=200, **parameters):
    answer = client.get(f"/api/v1{path}", params=parameters)
    assert answer.status_code == expect, answer.text
    return answer.json()


def test_reconciliations_show_their_figures(client):
    items = get(client, "/reconciliations")["items"]
    assert [item["reconciliation_id"] for item in items] == ["orders", "refunds"]
    orders, refunds = items
    assert orders["transactions"] == {
        "accepted": 100, "accepted_source": 60, "accepted_target": 40, "pending": 15,
        "matched": 80, "suggested": 0, "exception": 5, "duplicate": 0, "superseded": 0,
    }  # fmt: skip
    assert orders["match_rate"] == 0.8
    assert refunds["match_rate"] is None
    assert get(client, "/reconciliations/orders") == orders


def test_a_summary_has_sums_per_side_and_currency(client):
    summary = get(client, "/reconciliations/orders/summary")
    source, target = summary["totals"]
    assert (source["side"], target["side"]) == ("source", "target")
    assert source["accepted"] == {"count": 60, "amount": "60.00"}
    assert source["pending"] == {"count": 20, "amount": "20.00"}


def test_a_definition_and_its_versions(client):
    definition = get(client, "/reconciliations/orders/definition")
    assert definition["version"] == 1
    assert definition["definition"]["rules"] == DEFINITION["rules"]
    assert get(client, "/reconciliations/orders/versions")["items"] == [definition]
    assert get(client, "/reconciliations/orders/definition", version=1) == definition
    get(client, "/reconciliations/orders/definition", 404, version=2)


def test_a_match_says_why(client, served):
    listed = get(client, "/matches", reconciliation_id="orders")["items"]
    assert len(listed) == 8
    shown = get(client, f"/matches/{served.acme.ids['matches'][0]}")
    assert shown["source_amount"] == "12.50"
    assert shown["target_amount"] == "12.00"
    assert shown["difference"] == "-0.50"
    assert shown["rule_definition"] == DEFINITION["rules"][0]


def test_suggestions_stand_apart_from_matches(client, served):
    (suggestion,) = get(client, "/suggestions")["items"]
    assert suggestion["match_id"] == served.acme.ids["suggestion"]
    assert suggestion["reason"] == "two admissible matches"
    confirmed = get(client, "/matches")["items"]
    assert suggestion["match_id"] not in {match["match_id"] for match in confirmed}
    every = get(client, "/matches", status="any")["items"]
    assert suggestion["match_id"] in {match["match_id"] for match in every}


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 6),
        ({"status": "open"}, 5),
        ({"status": "resolved"}, 1),
        ({"severity": "critical"}, 1),
        ({"severity": "low", "status": "open"}, 2),
        ({"currency": "JPY"}, 1),
        ({"side": "target"}, 0),
        ({"category": "duplicate"}, 0),
        ({"category": "missing_in_target"}, 6),
        ({"rule": "order-reference", "reconciliation_id": "orders"}, 6),
        ({"reconciliation_id": "refunds"}, 0),
    ],
)
def test_exceptions_are_filtered(client, filters, count):
    assert len(get(client, "/exceptions", **filters)["items"]) == count


def test_an_open_exception_tells_its_story(client, served):
    shown = get(client, f"/exceptions/{served.acme.ids['exceptions'][2]}")
    assert shown["transaction_id"] == 'O-"2"'
    assert shown["amount"] == "9.90"
    (candidate,) = shown["candidates"]
    assert candidate["amount"] == "10.00"
    assert candidate["failed"] == "amount"
    (opened,) = shown["story"]
    assert opened["event_type"] == "RecordUnmatched"
    assert opened["data"]["exception_id"] == shown["exception_id"]
    assert opened["data"]["amount"] == "9.90"
    assert shown["match"] is None


def test_a_resolved_exception_tells_how(client, served):
    shown = get(client, f"/exceptions/{served.acme.ids['resolved']}")
    assert shown["amount"] == "990"  # JPY has no fraction digits
    assert [event["event_type"] for event in shown["story"]] == [
        "RecordUnmatched",
        "RecordMatched",
        "ExceptionResolved",
    ]
    assert shown["match"]["match_id"] == shown["match_id"]
    assert shown["resolution"] == "late_match"


def test_dead_letters_show_the_record(client, served):
    letters = get(client, "/dead-letters")["items"]
    assert {letter["dead_letter_id"] for letter in letters} == set(served.acme.ids["dead_letters"])
    readable, bytes_only = served.acme.ids["dead_letters"][:2]
    shown = get(client, f"/dead-letters/{readable}")
    assert (shown["raw"], shown["raw_encoding"]) == ('{"amount": "1,0"}', "utf-8")
    shown = get(client, f"/dead-letters/{bytes_only}")
    assert (shown["raw"], shown["raw_encoding"]) == ("//4=", "base64")
    assert get(client, "/dead-letters", code="too_old")["items"] == []


def test_usage_and_hotspots(client):
    days = get(client, "/usage")["items"]
    assert [day["transactions"] for day in days] == [100, 101, 102]
    assert len(get(client, "/usage", from_date="2026-02-28", to_date="2026-02-28")["items"]) == 1
    hotspots = get(client, "/hotspots", category="amount_mismatch")["items"]
    assert len(hotspots) == 3
    assert hotspots[0]["amount"] == "5.00"


def test_events_of_an_aggregate_and_of_a_correlation(client):
    events = get(client, "/events", aggregate_id="orders", limit=200)["items"]
    positions = [event["global_position"] for event in events]
    assert positions == sorted(positions)
    assert [event["stream_version"] for event in events] == list(range(1, len(events) + 1))
    accepted = next(event for event in events if event["event_type"] == "TransactionsAccepted")
    assert accepted["data"]["counts"][0] == {
        "side": "source", "currency": "EUR", "count": 60, "amount": "60.00",
    }  # fmt: skip
    (defined,) = get(client, "/events", correlation_id="define-orders")["items"]
    assert defined["event_type"] == "ReconciliationDefined"
    assert defined["metadata"]["traceparent"].startswith("00-abab")


def test_events_of_api_and_view_are_the_same(client, served):
    events = get(client, "/events", aggregate_id="orders", limit=200)["items"]
    with served.connect() as connection:
        rows = connection.execute(
            "SELECT event_id::text, stream_version, global_position, event_type, aggregate_id,"
            " aggregate_type, data FROM events WHERE stream_id = 'acme/orders'"
            " ORDER BY global_position"
        ).fetchall()
    names = ("event_id", "stream_version", "global_position", "event_type", "aggregate_id",
             "aggregate_type")  # fmt: skip
    assert [tuple(event[name] for name in names) for event in events] == [row[:6] for row in rows]
    for event, row in zip(events, rows, strict=True):
        for name in {"match_id", "exception_id"} & row[6].keys():
            assert event["data"][name] == row[6][name]


def test_a_summary_that_has_not_changed_is_not_sent_again(client):
    first = client.get("/api/v1/reconciliations/orders/summary")
    again = client.get(
        "/api/v1/reconciliations/orders/summary", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_a_summary_is_kept_and_given_up_when_the_read_models_move(client, served, valkey):
    path = "/api/v1/reconciliations/refunds/summary"
    deadline = time.monotonic() + 10
    import redis

    with redis.Redis.from_url(valkey.url) as kept:
        while not kept.keys(f"settler:answer:*:acme:{path}[?]:*"):
            assert client.get(path).json()["redelivered"] == 0
            assert time.monotonic() < deadline, "the answer was never kept"
        assert not kept.keys(f"settler:answer:*:globex:{path}*")
    with served.connect() as connection:
        connection.execute(
            "UPDATE reconciliation_summary SET redelivered = 5"
            " WHERE tenant_id = 'acme' AND reconciliation_id = 'refunds'"
        )
        connection.execute("UPDATE projection_checkpoints SET position = position + 1")
        connection.execute("NOTIFY settler_read_models")
    while client.get(path).json()["redelivered"] != 5:
        assert time.monotonic() < deadline, "the old answer is still given"
