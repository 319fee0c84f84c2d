"""One transaction with its story: wherever its id is held, its tenant's alone, within a bound."""

from urllib.parse import quote

import pytest

from api import transaction_stories
from domain.events import TransactionsAccepted, TransactionSuperseded
from domain.transactions import build_transaction
from projections import explaining
from tests.integration.api.people import bearing, key_of
from tests.integration.api.rows import Log, add_accepted, add_exception, add_match, insert

LETTER = "refused/1"


@pytest.fixture(scope="module")
def held(served):
    """S1 in two reconciliations, and in one of them on both sides; B-1 corrected by itself."""
    with served.connect() as connection:
        log = Log(connection)
        for tenant_id in ("acme", "globex"):
            add_accepted(log, tenant_id, "refunds", ["S1", "T1"])
            ids = {"refunds": add_match(log, tenant_id, "refunds", 1)}
        records = [(1, "S1", "1.00", None), (0, "B-1", "5.00", None), (0, "B-1", "7.00", "B-1")]
        for side, one, amount, supersedes in records:
            fields = {
                "tenant_id": "acme", "reconciliation_id": "refunds", "transaction_id": one,
                "amount": amount, "currency": "EUR", "reference": "R-9",
                "occurred_at": "2026-03-01T12:00:00Z", "supersedes": supersedes,
                "attributes": {"shop": "north"},
            }  # fmt: skip
            transaction = build_transaction(fields, side, None)
            events = [TransactionsAccepted([(side, "EUR", 1, 1)], {}, 0, 0)]
            if supersedes:
                events.insert(0, TransactionSuperseded(side, one, one, 500, "EUR", False))
            log.append("acme", "refunds", events, [transaction.packed])
        ids["exception"] = add_exception(log, "acme", "refunds", "B-1", severity="high")
        for offset, tenant_id in ((90_000, "acme"), (90_100, "globex")):
            for number in range(22):
                insert(
                    connection, "dead_letter_queue", topic="settler.transactions.target",
                    partition=0, offset=offset + number, tenant_id=tenant_id,
                    reconciliation_id="orders", transaction_id=LETTER, side=1, raw=b"{}",
                    code="invalid_amount", message=f"of {tenant_id}",
                )  # fmt: skip
    return ids


def read(client, transaction_id, expect=200, **parameters):
    path = f"/api/v1/transactions/{quote(transaction_id, safe='')}"
    answer = client.get(path, params=parameters)
    assert answer.status_code == expect, answer.text
    return answer.json()


def places(answer) -> list[tuple[str, str]]:
    return [(one["reconciliation_id"], one["side"]) for one in answer["stories"]]


def test_one_is_told_in_each_reconciliation_and_on_each_side_that_hold_it(held, client, served):
    answer = read(client, "S1")
    assert places(answer) == [("orders", "source"), ("refunds", "source"), ("refunds", "target")]
    in_orders, in_refunds, on_target = answer["stories"]
    assert answer["unfinished"] == answer["dead_letters"] == []
    # The first was never accepted as far as the log tells, and matched all the same.
    assert (in_orders["standing"], in_orders["transaction"]) == ("matched", None)
    assert (in_refunds["standing"], in_refunds["transaction"]["amount"]) == ("matched", "12.50")
    assert (on_target["standing"], on_target["transaction"]["amount"]) == ("pending", "1.00")
    assert [line["event_type"] for line in in_refunds["story"]] == [
        "TransactionsAccepted", "RecordMatched",
    ]  # fmt: skip
    accepted, matched = in_refunds["story"]
    assert accepted["position"] < matched["position"]
    assert accepted["at"] == in_refunds["transaction"]["accepted_at"] < matched["at"]
    assert in_orders["match_id"] == served.acme.ids["matches"][1]
    assert on_target["match_id"] is None
    assert read(client, "S1", reconciliation_id="refunds")["stories"] == [in_refunds, on_target]
    assert read(client, "S1", side="target")["stories"] == [on_target]
    assert read(client, "S1", reconciliation_id="orders", side="source")["stories"] == [in_orders]


def test_what_it_shows_is_what_its_neighbours_show(held, client, served):
    (story,) = read(client, served.acme.ids["transaction"])["stories"]
    query = {"reconciliation_id": "orders", "transaction_id": served.acme.ids["transaction"]}
    (listed,) = client.get("/api/v1/transactions", params=query).json()["items"]
    assert story["transaction"] == listed
    explained = client.get(story["links"]["explanation"]).json()
    for name in ("standing", "waits_until", "story", "duplicate_of", "superseded_by"):
        assert story[name] == explained[name]
    assert story["waits_until"] is not None


def test_links_lead_to_match_exception_and_explanation(held, client, served):
    (story,) = read(client, "S1", reconciliation_id="refunds", side="source")["stories"]
    explained = client.get(story["links"]["explanation"])
    assert explained.json()["match"]["match_id"] == story["match_id"]
    match = client.get(story["links"]["match"]).json()
    assert (match["match_id"], match["source_ids"]) == (story["match_id"], ["S1"])
    (suggested,) = read(client, "S90")["stories"]
    # Of the test's rows alone: the log has it matched, the read model suggested.
    assert suggested["match_id"] == served.acme.ids["suggestion"]
    (resolved,) = read(client, "O-late")["stories"]
    assert resolved["exception_id"] == served.acme.ids["resolved"]
    assert client.get(resolved["links"]["exception"]).json()["status"] == "resolved"
    assert client.get(resolved["links"]["match"]).status_code == 200
    (slashed,) = read(client, "S/0")["stories"]
    assert client.get(slashed["links"]["explanation"]).json()["standing"] == slashed["standing"]


def test_a_correction_under_the_same_id_stands_beside_what_it_corrected(held, client):
    (story,) = read(client, "B-1")["stories"]
    assert story["standing"] == "exception"
    assert story["exception_id"] == held["exception"]
    assert (story["transaction"]["amount"], story["transaction"]["supersedes"]) == ("7.00", "B-1")
    assert story["transaction"]["attributes"] == {"shop": "north"}
    assert [one["amount"] for one in story["corrected"]] == ["5.00"]
    assert [line["event_type"] for line in story["story"]] == [
        "TransactionsAccepted", "TransactionSuperseded", "TransactionsAccepted", "RecordUnmatched",
    ]  # fmt: skip


def test_records_that_were_refused_are_found_by_their_id(held, client, served):
    answer = read(client, LETTER)
    assert answer["stories"] == []
    assert len(answer["dead_letters"]) == transaction_stories.LETTERS_MAX
    assert {one["message"] for one in answer["dead_letters"]} == {"of acme"}
    assert read(client, LETTER, reconciliation_id="orders")["dead_letters"]
    read(client, LETTER, 404, reconciliation_id="refunds")
    read(client, LETTER, 404, side="source")
    letters = client.get("/api/v1/dead-letters", params={"transaction_id": LETTER})
    assert len(letters.json()["items"]) == 22
    assert letters.json()["items"][:20] == answer["dead_letters"]
    scopes = ["transactions:read"]
    with bearing(served, key_of(served, "owner", scopes)) as narrow:
        assert read(narrow, "S1")["dead_letters"] is None
        read(narrow, LETTER, 404)
    with bearing(served, key_of(served, "owner", ["dead_letters:read"])) as narrow:
        read(narrow, "S1", 403)


def test_another_tenants_are_not_told(held, client, served):
    with served.client(served.globex) as globex:
        assert places(read(globex, "S1")) == [("orders", "source"), ("refunds", "source")]
        read(globex, "B-1", 404)
        assert {one["message"] for one in read(globex, LETTER)["dead_letters"]} == {"of globex"}
    read(client, served.globex.ids["transaction"], 404)


@pytest.mark.parametrize("odd", ["a\x00b", "x" * 129, "💶", "a/b", "%", "'; --", "S", "", "S1/"])
def test_odd_ids_name_nothing(held, client, odd):
    assert read(client, odd, 404)["error"] == "not_found"


@pytest.mark.parametrize("query", [{"side": "left"}, {"reconciliation_id": "A"}, {"as_of": "1"}])
def test_what_cannot_be_asked_is_refused(held, client, query):
    assert read(client, "S1", 400, **query)["error"] == "invalid_parameter"


def test_only_so_much_of_the_logs_is_read_and_the_rest_is_named(held, client, monkeypatch):
    monkeypatch.setattr(explaining, "_PAGE", 1)
    monkeypatch.setattr(transaction_stories, "REACH_BYTES_MAX", 1)
    refused = read(client, "S1", 404)
    assert "settler explain" in refused["message"]
    # The exception is told in the newest batch of its log; what stood before it was not read.
    answer = read(client, "B-1")
    assert answer["unfinished"] == ["orders", "refunds"]
    (story,) = answer["stories"]
    assert (story["standing"], story["transaction"]) == (None, None)
    assert story["exception_id"] == held["exception"]


def test_what_one_log_leaves_of_the_reading_goes_to_the_next(held, client, monkeypatch, served):
    with served.connect() as connection:
        sizes = dict(
            connection.execute(
                "SELECT reconciliation_id, sum(octet_length(events) +"
                " coalesce(octet_length(journal), 0)) FROM event_store WHERE tenant_id = 'acme'"
                " GROUP BY reconciliation_id"
            ).fetchall()
        )
    monkeypatch.setattr(explaining, "_PAGE", 1)
    assert sizes["refunds"] < sizes["orders"]
    monkeypatch.setattr(transaction_stories, "REACH_BYTES_MAX", int(sum(sizes.values())))
    assert read(client, "S1")["unfinished"] == []
    monkeypatch.setattr(transaction_stories, "REACH_BYTES_MAX", int(sizes["orders"]))
    assert read(client, "S1")["unfinished"] == ["orders"]


def test_of_too_many_reconciliations_one_has_to_be_named(held, client, monkeypatch):
    monkeypatch.setattr(transaction_stories, "RECONCILIATIONS_MAX", 1)
    refused = read(client, "S1", 400)
    assert refused["details"][0]["path"] == "reconciliation_id"
    assert places(read(client, "S1", reconciliation_id="orders")) == [("orders", "source")]
