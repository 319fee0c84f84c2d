"""People's decisions and corrections through every real part: API, inbox, flow, store, read models.

Time passes by the clock here: records lie a day back, and a reconciliation is idle after a second.
"""

import json
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from connectors.synthetic.topics import LoadProducer
from tests.integration.api.rows import PEPPER, add_tenant
from tests.integration.api.serving import serving
from tests.integration.flow.running import Role, eventually, holds

OCCURRED = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="seconds")
DEFINITION = {
    "reconciliation_id": "orders",
    "name": "Orders",
    "window": {"wait": "PT1H", "lateness": "PT0S", "idle": "PT1S"},
    "rules": [
        {
            "name": "reference",
            "match_type": "one_to_one",
            "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
        },
        {
            "name": "counterparty",
            "match_type": "one_to_one",
            "conditions": [{"field": "counterparty", "operator": "exact"}],
            "outcome": "suggest",
        },
    ],
}


class Product:
    """The running parts, as a client and a producer of records see them."""

    def __init__(self, client: httpx.Client, conn: psycopg.Connection, producer) -> None:
        self.client = client
        self.conn = conn
        self._producer = producer

    def send(self, *records: dict[str, object]) -> None:
        for record in records:
            side = 0 if str(record["transaction_id"]).startswith("s") else 1
            whole = {
                "tenant_id": "acme",
                "reconciliation_id": "orders",
                "amount": "10.00",
                "currency": "EUR",
                "occurred_at": OCCURRED,
                **record,
            }
            self._producer.send(side, b"k", json.dumps(whole).encode())
        self._producer.finish()

    def ask(self, method: str, path: str, body: dict[str, object] | None = None):
        answer = self.client.request(method, f"/api/v1{path}", json=body or {}, params={"wait": 20})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def get(self, path: str, **params: object):
        answer = self.client.get(f"/api/v1{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def matches(self, status: str) -> dict[tuple[str, ...], dict[str, object]]:
        items = self.get("/matches", status=status, reconciliation_id="orders")["items"]
        return {(*one["source_ids"], *one["target_ids"]): one for one in items}

    def wait_for(self, status: str, *members: tuple[str, ...]) -> dict[tuple[str, ...], dict]:
        eventually(30, f"{status} {members}", lambda: set(members) <= set(self.matches(status)))
        return self.matches(status)

    def summary(self) -> dict[str, object]:
        return self.get("/reconciliations/orders")


@pytest.fixture
def product(database, environment, settings, make_settings, tmp_path):
    flow = Role(environment, tmp_path / "flow.log", "flow")
    projections = Role(environment, tmp_path / "projections.log", "projections")
    api_settings = make_settings(
        database_url=database.url, redis_url=settings.redis_url, api_key_pepper=PEPPER
    )
    producer = LoadProducer(settings.kafka_config(), settings.topic_prefix)
    with (
        database.connect(autocommit=True) as conn,
        flow.running(),
        projections.running(),
        serving(api_settings) as url,
    ):
        tenant = add_tenant(conn, "acme")
        client = httpx.Client(base_url=url, headers=tenant.headers, timeout=40, trust_env=False)
        with client:
            product = Product(client, conn, producer)
            assert product.ask("PUT", "/reconciliations", DEFINITION)["status"] == "done"
            assert product.summary()["status"] == "active", "who waited can read it at once"
            yield product


def backtested(product) -> None:
    """The definition in force makes of the flow's own history what the flow made of it."""
    path = "/api/v1/reconciliations/orders/backtest"
    answer = product.client.post(path, json=DEFINITION)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    for kind in ("matches", "suggestions", "exceptions"):
        assert found[kind]["recorded"] == found[kind]["candidate"], found[kind]
        for name in ("gained", "lost", "changed", "recategorised"):
            assert found[kind].get(name, {"count": 0})["count"] == 0, found[kind]
    assert found["contradictions"]["count"] == 0
    # What people said of t2 went with it.
    people = {kind: of_kind["count"] for kind, of_kind in found["people"].items()}
    assert people == {"confirmed": 0, "by_hand": 1, "rejected": 1, "reversed": 1}
    sure = {**DEFINITION, "rules": [*DEFINITION["rules"][:1], {
        **DEFINITION["rules"][1], "outcome": "confirm",
    }]}  # fmt: skip
    (named,) = product.client.post(path, json=sure).json()["contradictions"]["named"]
    assert (named["decision"], named["source_ids"], named["reason"]) == (
        "rejected", ["s3"], "another Bob",
    )  # fmt: skip


def test_suggestions_reversals_matches_by_hand_and_corrections(product):
    product.send(
        {"transaction_id": "s1", "reference": "A"},
        {"transaction_id": "t1", "reference": "A"},
        {"transaction_id": "s2", "counterparty": "Ann"},
        {"transaction_id": "t2", "counterparty": "Ann"},
        {"transaction_id": "s3", "counterparty": "Bob"},
        {"transaction_id": "t3", "counterparty": "Bob"},
        {"transaction_id": "s4", "amount": "4.00"},
        {"transaction_id": "t4", "amount": "5.00"},
    )
    suggested = product.wait_for("suggested", ("s2", "t2"), ("s3", "t3"))
    assert suggested["s2", "t2"]["source_amounts"] == ["10.00"]
    matched = product.wait_for("confirmed", ("s1", "t1"))

    done = product.ask("POST", f"/matches/{suggested['s2', 't2']['match_id']}/confirm")
    assert (done["status"], done["outcome"]["match_id"]) == (
        "done", suggested["s2", "t2"]["match_id"],
    )  # fmt: skip
    rejected = f"/matches/{suggested['s3', 't3']['match_id']}/reject"
    assert product.ask("POST", rejected, {"reason": "another Bob"})["status"] == "done"
    again = product.ask("POST", rejected)
    assert (again["status"], again["outcome"]["error"]) == ("refused", "suggestion_not_standing")
    reverse = f"/matches/{matched['s1', 't1']['match_id']}/reverse"
    undone = product.ask("POST", reverse, {"reason": "wrong order"})
    assert undone["status"] == "done"
    assert ("s1", "t1") in product.matches("reversed"), "who waited can read it at once"
    by_hand = {"reconciliation_id": "orders", "source_ids": ["s4"], "target_ids": ["t4"]}
    needs = product.ask("POST", "/matches", by_hand)
    assert (needs["status"], needs["outcome"]["error"]) == ("refused", "reason_needed")
    assert product.ask("POST", "/matches", {**by_hand, "reason": "fee"})["status"] == "done"
    # t2 was matched; what corrects it fits nobody.
    product.send({"transaction_id": "t5", "counterparty": "Eve", "supersedes": "t2"})

    reversed_ = product.wait_for("reversed", ("s1", "t1"), ("s2", "t2"))
    assert reversed_["s1", "t1"]["command_id"] == undone["command_id"]
    assert reversed_["s1", "t1"]["reason"] == "wrong order"
    assert reversed_["s2", "t2"]["command_id"] is None
    assert reversed_["s2", "t2"]["reason"] == "t2 was corrected by t5"
    assert set(product.wait_for("confirmed", ("s4", "t4"))) == {("s4", "t4")}
    assert set(product.wait_for("rejected", ("s3", "t3"))) == {("s3", "t3")}

    def settled() -> bool:
        found = product.get("/exceptions", reconciliation_id="orders", status="open")["items"]
        return {one["transaction_id"] for one in found} == {"s1", "t1", "s2", "s3", "t3", "t5"}

    eventually(30, "who was freed is an exception", settled)
    backtested(product)
    row = product.conn.execute(
        "SELECT accepted_source + accepted_target, transactions_matched, transactions_suggested,"
        " transactions_exception, duplicates, superseded, pending FROM reconciliation_summary"
    ).fetchone()
    assert row == (9, 2, 0, 6, 0, 1, 0)
    sums = product.conn.execute(
        "SELECT side, superseded_minor, matched_minor, pending_minor FROM reconciliation_totals"
        " ORDER BY side"
    ).fetchall()
    assert sums == [("source", 0, 400, 0), ("target", 1000, 500, 0)]
    told = product.conn.execute(
        "SELECT event_type, data ->> 'code', metadata ->> 'causation_id' IS NOT NULL FROM events"
        " WHERE event_type IN ('CommandRefused', 'MatchConfirmed', 'MatchRejected')"
        " ORDER BY global_position"
    ).fetchall()
    assert told == [
        ("MatchConfirmed", None, True),
        ("MatchRejected", None, True),
        ("CommandRefused", "suggestion_not_standing", True),
        ("CommandRefused", "reason_needed", True),
        ("MatchConfirmed", None, True),
    ]


def test_paused_records_are_pending_until_resumed(product):
    assert product.ask("POST", "/reconciliations/orders/pause")["status"] == "done"
    product.send(
        {"transaction_id": "s1", "reference": "A"}, {"transaction_id": "t1", "reference": "A"}
    )

    def waiting() -> bool:
        shown = product.summary()
        return shown["status"] == "paused" and shown["transactions"]["pending"] == 2

    eventually(30, "both are pending", waiting)
    assert not product.matches("any")
    again = product.ask("POST", "/reconciliations/orders/pause")
    assert (again["status"], again["outcome"]["error"]) == ("refused", "already_paused")
    assert product.ask("POST", "/reconciliations/orders/resume")["status"] == "done"
    product.wait_for("confirmed", ("s1", "t1"))
    assert product.summary()["status"] == "active"


def test_a_person_closes_exceptions_and_the_matching_goes_on(product, environment):
    product.send(
        {"transaction_id": "s1", "reference": "A"},
        {"transaction_id": "s2", "reference": "B"},
        {"transaction_id": "s3", "reference": "C"},
    )

    def case(transaction_id: str) -> dict[str, object]:
        found = product.get("/exceptions", reconciliation_id="orders")["items"]
        return next((one for one in found if one["transaction_id"] == transaction_id), {})

    eventually(30, "three exceptions", lambda: all(map(case, ("s1", "s2", "s3"))))
    ids = {name: case(name)["exception_id"] for name in ("s1", "s2", "s3")}
    product.ask("POST", f"/exceptions/{ids['s1']}/assign", {"assignee": "ann"})
    write_off = {"resolution": "write_off", "reason": "too old"}
    product.ask("POST", f"/exceptions/{ids['s1']}/resolve", write_off)
    many = {"action": "dismiss", "exception_ids": [ids["s2"], ids["s3"]]}
    product.ask("POST", "/exceptions/bulk", many)
    assert [case(name)["status"] for name in ids] == ["resolved", "dismissed", "dismissed"]
    assert product.summary()["exceptions_open"] == 0
    # Their counterparts come after all.
    product.send(
        {"transaction_id": "t1", "reference": "A"}, {"transaction_id": "t2", "reference": "B"}
    )
    product.wait_for("confirmed", ("s1", "t1"), ("s2", "t2"))
    eventually(30, "the match to resolve it", lambda: case("s1")["resolution"] == "late_match")
    shown = product.get(f"/exceptions/{ids['s1']}")
    assert (shown["assignee"], shown["version"]) == ("ann", 2)
    told = [(one["event_type"], one["data"].get("resolution")) for one in shown["story"]]
    assert [one for one in told if one[0] != "ExceptionReclassified"] == [
        ("RecordUnmatched", None), ("ExceptionAssigned", None), ("ExceptionResolved", "write_off"),
        ("RecordMatched", None), ("ExceptionResolved", "late_match"),
    ]  # fmt: skip
    product.ask("POST", f"/exceptions/{ids['s3']}/reopen", {"reason": "look again"})
    assert case("s3")["status"] == "open"
    holds(environment)


def test_dead_letters_are_taken_up_again_when_asked(product, environment):
    soon = datetime.now(UTC) + timedelta(days=1, seconds=4)
    early = soon.isoformat(timespec="milliseconds")
    product.send(
        {"transaction_id": "s1", "reference": "A", "occurred_at": early},
        {"transaction_id": "s2", "amount": "1,0"},
        {"transaction_id": "t1", "reference": "B"},
    )

    def letters() -> dict[str, dict[str, object]]:
        return {one["transaction_id"]: one for one in product.get("/dead-letters")["items"]}

    eventually(30, "two dead letters", lambda: len(letters()) == 2)
    ahead, unreadable = letters()["s1"], letters()["s2"]
    assert (ahead["code"], ahead["redrive"]) == ("invalid_timestamp", "none")
    many = {"code": "invalid_amount", "reconciliation_id": "orders"}
    asked = product.client.post("/api/v1/dead-letters/redrive", json=many)
    assert (asked.status_code, asked.json()) == (202, {"requested": 1, "more": False})
    eventually(30, "what is wrong comes back", lambda: letters()["s2"]["redrive"] == "refused")
    assert letters()["s2"]["code"] == unreadable["code"] == "invalid_amount"
    # What was wrong with the other one is put right by waiting.
    eventually(30, "its time", lambda: datetime.now(UTC) > soon - timedelta(days=1))
    path = f"/dead-letters/{ahead['dead_letter_id']}/redrive"
    assert product.ask("POST", path)["redrive"] == "accepted"
    eventually(30, "it counts", lambda: product.summary()["transactions"]["accepted"] == 2)
    assert letters()["s1"]["redrive"] == "accepted"
    holds(environment)


def test_a_range_is_run_and_tells_its_totals(product, environment):
    product.send(
        {"transaction_id": "s1", "reference": "A"},
        {"transaction_id": "t1", "reference": "A"},
        {"transaction_id": "s2", "reference": "B"},
    )
    product.wait_for("confirmed", ("s1", "t1"))
    runs, occurred = "/reconciliations/orders/runs", datetime.fromisoformat(OCCURRED)
    past = {
        "from": (occurred - timedelta(hours=1)).isoformat(),
        "to": (occurred + timedelta(hours=1)).isoformat(),
        "name": "yesterday",
    }
    run_id = product.ask("POST", runs, past)["outcome"]["run_id"]
    eventually(30, "it completes", lambda: _run(product, run_id).get("status") == "completed")
    shown = product.get(f"{runs}/{run_id}")
    assert (shown["transactions"], shown["name"], shown["attempts"]) == (3, "yesterday", 1)
    assert [(one["side"], one["place"], one["amount"]) for one in shown["totals"]] == [
        ("source", "exception", "10.00"), ("source", "matched", "10.00"),
        ("target", "matched", "10.00"),
    ]  # fmt: skip
    # One that goes on: a new definition fails it, retried it can be cancelled.
    ahead = past | {"to": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    run_id = product.ask("POST", runs, ahead)["outcome"]["run_id"]
    assert product.ask("PUT", "/reconciliations", DEFINITION)["status"] == "done"
    eventually(30, "it fails", lambda: _run(product, run_id).get("status") == "failed")
    assert _run(product, run_id)["error"] == "definition_changed"
    assert product.ask("POST", f"{runs}/{run_id}/retry")["status"] == "done"
    again = product.ask("POST", f"{runs}/{run_id}/retry")
    assert (again["status"], again["outcome"]["error"]) == ("refused", "run_not_failed")
    assert product.ask("POST", f"{runs}/{run_id}/cancel", {"reason": "no"})["status"] == "done"
    eventually(30, "it is cancelled", lambda: _run(product, run_id)["status"] == "cancelled")
    assert (_run(product, run_id)["attempts"], _run(product, run_id)["reason"]) == (2, "no")
    listed = product.get(runs)["items"]
    assert [one["status"] for one in listed] == ["cancelled", "completed"]
    holds(environment)


def _run(product: Product, run_id: str) -> dict[str, object]:
    found = product.get("/reconciliations/orders/runs")["items"]
    return next((one for one in found if one["run_id"] == run_id), {})
