"""`settler explain` and the API tell the same of a real flow's past."""

import json
import os
import subprocess
import sys

import pytest

from tests.integration.flow.running import eventually
from tests.integration.flow.test_people import OCCURRED, product  # noqa: F401 - a fixture


@pytest.fixture
def explain(environment):
    """Run `settler explain` as an operator would."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", "explain", *arguments],
            env={**environment, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_the_past_of_a_real_flow_is_explained(product, explain):  # noqa: F811
    product.send(
        {"transaction_id": "s1", "reference": "A"},
        {"transaction_id": "t1", "reference": "A"},
        {"transaction_id": "s2", "counterparty": "Ann"},
        {"transaction_id": "t2", "counterparty": "Ann"},
        {"transaction_id": "s3", "counterparty": "Bob", "amount": "10.40"},
        {"transaction_id": "t3", "counterparty": "Bob"},
        {"transaction_id": "t4", "reference": "A"},
        {"transaction_id": "same"},
    )
    product.send({"transaction_id": "s5", "counterparty": "Eve"})
    suggested = product.wait_for("suggested", ("s2", "t2"))["s2", "t2"]
    product.wait_for("confirmed", ("s1", "t1"))
    product.ask("POST", f"/matches/{suggested['match_id']}/confirm", {"reason": "it is Ann"})
    product.send({"transaction_id": "s6", "counterparty": "Eve", "supersedes": "s5"})

    def settled() -> bool:
        found = product.get("/exceptions", reconciliation_id="orders", status="open")["items"]
        return {one["transaction_id"] for one in found} == {"s3", "t3", "t4", "s6", "same"}

    eventually(30, "what is left is an exception", settled)

    by_rule = explain("s1")
    assert by_rule.returncode == 0, by_rule.stderr
    assert by_rule.stdout.splitlines()[:3] == [
        f"source s1 over 10.00 EUR of {OCCURRED.replace('+00:00', 'Z')} is matched.",
        "1 source and 1 target, 10.00 against 10.00 EUR, difference 0.00: confirmed.",
        "Rule reference matched them.",
    ]
    assert "'A' equals the target's reference 'A', and occurs once per side." in by_rule.stdout
    by_person = explain("t2", "--tenant", "acme", "--reconciliation", "orders").stdout
    assert "A person confirmed the suggestion of rule counterparty" in by_person
    assert "saying: it is Ann." in by_person
    near = json.loads(explain("s3", "--json").stdout)
    (candidate,) = near["exception"]["candidates"]
    assert (candidate["transaction_id"], candidate["failed"]) == ("t3", "amount")
    assert candidate["evidence"]["amount"]["over"] == "0.4"
    assert "'A' was brought by t1 before, so this is a duplicate." in explain("t4").stdout
    assert "s6 corrects it, so it counts no more." in explain("s5", "--side", "source").stdout

    # A page of the API and the command tell the same, and so do the things' own pages.
    asked = {"reconciliation_id": "orders", "side": "source"}
    assert product.get("/transactions/s3/explanation", **asked) == near
    exception_id = near["exception"]["exception_id"]
    assert product.get(f"/exceptions/{exception_id}/explanation") == near["exception"]
    matched = json.loads(explain("s2", "--json").stdout)["match"]
    assert product.get(f"/matches/{matched['match_id']}/explanation") == matched


def test_what_people_did_with_an_exception_is_told(product, explain):  # noqa: F811
    product.send(
        {"transaction_id": "s1", "counterparty": "Ann"},
        {"transaction_id": "s9", "reference": "Z"},
        {"transaction_id": "t9", "reference": "Z"},
    )

    def of_ann(status: str) -> dict | None:
        found = product.get("/exceptions", reconciliation_id="orders", status=status)["items"]
        return next((one for one in found if one["transaction_id"] == "s1"), None)

    eventually(30, "s1 is an exception", lambda: of_ann("open") is not None)
    named = of_ann("open")["exception_id"]
    product.ask("POST", f"/exceptions/{named}/assign", {"assignee": "ann"})
    product.ask("POST", f"/exceptions/{named}/comment", {"comment": "asked\nthe bank"})
    asked = {"resolution": "write_off", "reason": "too little to chase"}
    product.ask("POST", f"/exceptions/{named}/resolve", asked)
    eventually(30, "it is resolved", lambda: of_ann("resolved") is not None)

    closed = product.get(f"/exceptions/{named}/explanation")
    of_model = product.get(f"/exceptions/{named}")
    for field in ("status", "resolution", "resolution_reason", "assignee", "match_id"):
        assert closed[field] == of_model[field]
    by = product.get("/me")
    resolved = closed["work"][-1]
    assert resolved["user_id"] in (f"key:{by.get('key_id')}", f"user:{by.get('user_id')}")
    assert [one["event_type"] for one in closed["work"]] == [
        "ExceptionAssigned", "ExceptionCommented", "ExceptionResolved",
    ]  # fmt: skip
    standing = json.loads(explain("s1", "--json").stdout)
    assert (standing["standing"], standing["exception"]) == ("exception", closed)
    told = explain("s1").stdout
    said = f"resolved the exception as write_off ({resolved['user_id']}, command"
    assert told.count(said) == 2, "among what is said of it, and in its story"
    assert ": too little to chase." in told
    assert ": asked the bank." in told

    # Its counterpart comes after all.
    product.send({"transaction_id": "t1", "counterparty": "Ann"})
    product.wait_for("suggested", ("s1", "t1"))
    eventually(30, "matching resolved it", lambda: of_ann("resolved")["resolution"] != "write_off")
    matched = product.get(f"/exceptions/{named}/explanation")
    assert (matched["status"], matched["resolution"]) == ("resolved", "late_match")
    assert [one["sentence"] for one in matched["work"]] == [
        one["sentence"] for one in closed["work"]
    ]
    story = json.loads(explain("s1", "--json").stdout)["story"]
    types = [one["event_type"] for one in story]
    assert types[:5] == ["TransactionsAccepted", "RecordUnmatched", *(
        one["event_type"] for one in closed["work"]
    )]  # fmt: skip
    assert "late_match" in story[types.index("ExceptionResolved", 5)]["sentence"]


def test_what_is_not_told_by_its_id_alone_is_asked_for(product, explain):  # noqa: F811
    unknown = explain("nobody", "--tenant", "acme")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "there is no transaction nobody in acme/*" in unknown.stderr
    product.send({"transaction_id": "s1", "description": "one"})
    other = {"reconciliation_id": "others", "name": "Others"}
    defined = product.get("/reconciliations/orders/definition")["definition"]
    assert product.ask("PUT", "/reconciliations", {**defined, **other})["status"] == "done"
    product.send({"transaction_id": "s1", "reconciliation_id": "others"})

    def accepted() -> bool:
        both = product.get("/reconciliations")["items"]
        return [one["transactions"]["accepted"] for one in both] == [1, 1]

    eventually(30, "both are accepted", accepted)
    several = explain("s1")
    assert several.returncode == 2
    assert "acme/orders source, acme/others source; say which" in several.stderr
    shown = json.loads(explain("s1", "--reconciliation", "orders", "--json").stdout)
    assert shown["transaction"]["description"] == "one"
