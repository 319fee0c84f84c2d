"""Business days over HTTP: totals, and statements as the text that was hashed."""

from hashlib import sha256

import pytest

PATH = "/api/v1/reconciliations/orders/periods"


def test_days_are_listed_newest_first_with_their_totals(client, served):
    closed = served.acme.ids["day"]
    listed = client.get(PATH).json()
    newest, oldest = listed["items"]
    assert listed["next_cursor"] is None
    assert (newest["status"], newest["hash"], newest["closed_at"]) == ("open", None, None)
    assert (oldest["day"], oldest["status"], oldest["position"]) == (closed, "closed", 7)
    assert oldest["records"] == [
        {"side": "source", "consumed": 32, "accepted": 30, "redelivered": 0, "rejected": 2}
    ]
    (total,) = oldest["totals"]
    assert (total["side"], total["currency"]) == ("source", "EUR")
    assert total["accepted"] == {"count": 30, "amount": "30.00"}
    assert total["pending"] == {"count": 10, "amount": "10.00"}


def test_pages_of_days_follow_on(client):
    whole = client.get(PATH).json()["items"]
    first = client.get(PATH, params={"limit": 1}).json()
    second = client.get(PATH, params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert first["items"] + second["items"] == whole
    assert second["next_cursor"] is None
    # "nothing" is no day
    refused = client.get(PATH, params={"cursor": "WyJub3RoaW5nIl0"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_cursor")


def test_a_statement_is_the_text_its_hash_is_of(client, served):
    day = served.acme.ids["day"]
    answer = client.get(f"{PATH}/{day}")
    assert answer.status_code == 200, answer.text
    told = answer.headers["x-statement-sha256"]
    assert sha256(answer.content).hexdigest() == told
    listed = {one["day"]: one["hash"] for one in client.get(PATH).json()["items"]}
    assert listed[day] == told
    content = answer.json()
    assert (content["tenant_id"], content["day"]) == ("acme", day)


def test_a_page_is_html_that_loads_and_runs_nothing(client, served):
    answer = client.get(f"{PATH}/{served.acme.ids['day']}/page")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "<script" not in answer.text
    assert answer.headers["x-statement-sha256"] in answer.text


@pytest.mark.parametrize(
    "day", ["2026-02-30", "20260301", "1999-01-01", "today", "%00", "2026-3-1"]
)
def test_what_is_no_closed_day_is_not_found(client, day):
    for path in (f"{PATH}/{day}", f"{PATH}/{day}/page"):
        assert client.get(path).status_code == 404
    assert client.get(f"/api/v1/reconciliations/{day}/periods").status_code == 404


def test_an_open_day_has_no_statement_yet(client):
    newest = client.get(PATH).json()["items"][0]["day"]
    assert client.get(f"{PATH}/{newest}").status_code == 404
