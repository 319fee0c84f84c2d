"""Explanations over HTTP: as described, of the credential's tenant only, and within a bound."""

import pytest

from api import explanations
from projections import explaining
from tests.integration.api.people import bearing, key_of


def get(client, path, expect=200, **parameters):
    answer = client.get(f"/api/v1{path}", params=parameters)
    assert answer.status_code == expect, answer.text
    return answer.json()


def test_a_match_is_explained_with_values_difference_and_rule(client, served):
    shown = get(client, f"/matches/{served.acme.ids['matches'][0]}/explanation")
    (condition,) = shown["evidence"]["conditions"]
    assert condition["source_values"] == condition["target_values"] == ["R-1"]
    assert (condition["operator"], condition["unique"], condition["holds"]) == ("exact", True, True)
    # The row was put in by hand: the rule itself asks for equal amounts.
    amount = shown["evidence"]["amount"]
    assert (amount["source"], amount["target"], amount["difference"]) == ("12.50", "12.00", "-0.50")
    assert (amount["holds"], amount["over"]) == (False, "0.5")
    assert "Weighed again, the rule would not match these members." in shown["sentences"]
    assert shown["decided"]["by"] == "rule"
    assert shown["confidence"] == 1.0
    assert [member["amount"] for member in shown["members"]] == ["12.50", "12.00"]


def test_content_that_is_not_found_is_said_to_be_missing(client, served):
    shown = get(client, f"/matches/{served.acme.ids['matches'][3]}/explanation")
    assert shown["evidence"] is None
    assert shown["missing"] == [
        "The content of source S3 and target T3 lies further back in the log than was searched."
    ]
    assert shown["missing"][0] in shown["sentences"]


def test_an_exception_is_explained_as_recorded_where_content_is_missing(client, served):
    shown = get(client, f"/exceptions/{served.acme.ids['exceptions'][2]}/explanation")
    assert (shown["category"], shown["severity"]) == ("missing_in_target", "high")
    (candidate,) = shown["candidates"]
    assert candidate["failed"] == "amount"
    assert "differs by 0.10" in candidate["sentence"]
    assert shown["missing"]
    resolved = get(client, f"/exceptions/{served.acme.ids['resolved']}/explanation")
    assert resolved["resolution"] == "late_match"
    assert "a counterpart came late" in resolved["sentences"][-2]


def test_a_transaction_is_explained_whatever_its_id_holds(client, served):
    for transaction_id in served.acme.ids["in_journal"]:
        side = "target" if transaction_id.startswith("T") else "source"
        path = f"/transactions/{transaction_id}/explanation"
        shown = get(client, path, reconciliation_id="orders", side=side)
        assert shown["transaction"]["transaction_id"] == transaction_id
        matched = transaction_id in ("S0", "T0")
        assert shown["standing"] == ("matched" if matched else "pending")
        assert (shown["match"] is not None) == matched
        assert shown["story"][0]["event_type"] == "TransactionsAccepted"


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ({"reconciliation_id": "orders", "side": "target"}, 404, "not_found"),
        ({"reconciliation_id": "refunds", "side": "source"}, 404, "not_found"),
        ({"reconciliation_id": "orders"}, 400, "invalid_parameter"),
        ({"side": "source"}, 400, "invalid_parameter"),
        ({"reconciliation_id": "orders", "side": "left"}, 400, "invalid_parameter"),
    ],
)
def test_what_does_not_name_a_transaction_is_refused(client, served, query, status, error):
    path = f"/transactions/{served.acme.ids['transaction']}/explanation"
    assert get(client, path, status, **query)["error"] == error


@pytest.mark.parametrize("odd", ["a%00b", "x" * 129, "%F0%9F%92%B6", "a%2Fb", "%25", "'; --"])
def test_odd_ids_name_nothing(client, odd):
    path = f"/transactions/{odd}/explanation"
    assert get(client, path, 404, reconciliation_id="orders", side="source")


def test_only_so_much_of_the_log_is_read(client, served, monkeypatch):
    monkeypatch.setattr(explanations, "REACH_BYTES_MAX", 1)
    monkeypatch.setattr(explaining, "_PAGE", 1)
    path = f"/transactions/{served.acme.ids['transaction']}/explanation"
    refused = get(client, path, 404, reconciliation_id="orders", side="source")
    assert "settler explain" in refused["message"]


def test_each_needs_its_resources_scope(served):
    ids = served.acme.ids
    paths = {
        "matches:read": f"/matches/{ids['matches'][0]}/explanation",
        "exceptions:read": f"/exceptions/{ids['exceptions'][0]}/explanation",
        "transactions:read": f"/transactions/{ids['transaction']}/explanation",
    }
    for scope in paths:
        with bearing(served, key_of(served, "owner", [scope])) as client:
            for needed, path in paths.items():
                query = {"reconciliation_id": "orders", "side": "source"}
                expect = 200 if needed == scope else 403
                get(client, path, expect, **(query if needed == "transactions:read" else {}))
