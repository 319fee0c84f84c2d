"""Transactions by id or reference: found in the log, page by page, each tenant its own."""

import pytest

from api import transactions
from tests.integration.api.rows import Log, add_accepted

PATH = "/api/v1/transactions"
MANY = [f"S-{number:03}" for number in range(25)]


@pytest.fixture(scope="module")
def accepted(served):
    """Batches of refunds, all with one reference; globex has others."""
    with served.connect() as connection:
        log = Log(connection)
        for begin in range(0, 25, 10):
            add_accepted(log, "acme", "refunds", MANY[begin : begin + 10])
        add_accepted(log, "acme", "refunds", ["T-1", "S-000x"])
        add_accepted(log, "globex", "refunds", ["S-foreign"])


def found(client, **query) -> list[str]:
    """Ids of all pages."""
    ids, cursor = [], {}
    while cursor is not None:
        answer = client.get(PATH, params={"reconciliation_id": "refunds", **query, **cursor})
        assert answer.status_code == 200, answer.text
        ids += [one["transaction_id"] for one in answer.json()["items"]]
        after = answer.json()["next_cursor"]
        cursor = {"cursor": after} if after else None
    return ids


@pytest.mark.parametrize("limit", [1, 3, 10, 26, 200])
def test_all_of_a_reference_are_found_newest_first(accepted, client, limit):
    expected = ["S-000x", "T-1", *MANY[::-1]]
    assert found(client, reference="R-1", limit=limit) == expected


@pytest.mark.parametrize("limit", [2, 200])
def test_what_one_request_may_not_read_the_next_one_does(accepted, client, monkeypatch, limit):
    monkeypatch.setattr(transactions, "REACH_BYTES_MAX", 1)
    monkeypatch.setattr("projections.explaining._PAGE", 1)
    assert found(client, reference="R-1", limit=limit) == ["S-000x", "T-1", *MANY[::-1]]
    first = client.get(
        PATH, params={"reconciliation_id": "refunds", "transaction_id": "S-003"}
    ).json()
    assert first["items"] == []
    assert first["next_cursor"]
    assert found(client, transaction_id="S-003") == ["S-003"]


def test_an_id_is_looked_for_whole_and_side_and_reference_narrow(accepted, client):
    assert found(client, transaction_id="S-000") == ["S-000"]
    assert found(client, transaction_id="S-00") == []
    assert found(client, transaction_id="T-1", side="target") == ["T-1"]
    assert found(client, transaction_id="T-1", side="source") == []
    assert found(client, transaction_id="S-000", reference="R-2") == []
    assert found(client, reference="R-1", side="target") == ["T-1"]
    answer = client.get(PATH, params={"reconciliation_id": "refunds", "transaction_id": "T-1"})
    (one,) = answer.json()["items"]
    assert (one["amount"], one["currency"], one["reference"]) == ("12.00", "EUR", "R-1")
    assert one["occurred_at"] == "2026-03-01T12:00:00Z"


def test_nobody_finds_another_tenants(accepted, client, served):
    assert found(client, transaction_id="S-foreign") == []
    with served.client(served.globex) as globex:
        assert found(globex, reference="R-1") == ["S-foreign"]
    nothing = client.get(PATH, params={"reconciliation_id": "nothing", "reference": "R-1"}).json()
    assert nothing == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    "query", [{}, {"side": "source"}, {"reference": ""}, {"transaction_id": "x" * 129},
              {"reference": "R-1", "side": "left"}, {"reference": "R-1", "cursor": "WzEsLTFd"}],
)  # fmt: skip
def test_what_cannot_be_looked_for_is_refused(client, query):
    answer = client.get(PATH, params={"reconciliation_id": "refunds", **query})
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_parameter", "invalid_cursor"}
