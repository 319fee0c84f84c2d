"""Open exceptions by age."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.api.rows import Log, add_exception

PATH = "/api/v1/exceptions/ageing"
AGES = {
    "young": timedelta(hours=23), "day": timedelta(days=1, seconds=5), "two": timedelta(days=2),
    "week": timedelta(days=7, seconds=5), "old": timedelta(days=400),
}  # fmt: skip


@pytest.fixture(scope="module")
def aged(served):
    """Exceptions of refunds, each of its age; some are closed, foreign, or of another currency."""
    with served.connect() as connection:
        log = Log(connection)
        for tenant_id in ("acme", "globex"):
            for name, age in AGES.items():
                one = add_exception(log, tenant_id, "refunds", name, severity="high")
                connection.execute(
                    "UPDATE exceptions SET opened_at = now() - %s WHERE exception_id = %s",
                    (age, one),
                )
        add_exception(log, "acme", "refunds", "yen", currency="JPY", amount_minor=-7)
        connection.execute(
            "UPDATE exceptions SET opened_at = now(), assignee = 'ann', status = 'in_progress'"
            " WHERE transaction_id = 'yen'"
        )
        connection.execute(
            "UPDATE exceptions SET status = 'dismissed', resolution = 'dismissed'"
            " WHERE transaction_id = 'two'"
        )


def ages(client, **query) -> dict:
    answer = client.get(PATH, params={"reconciliation_id": "refunds", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_age_has_its_bucket(aged, client):
    shown = ages(client)
    assert [(one["from_days"], one["to_days"], one["count"]) for one in shown["buckets"]] == [
        (0, 1, 2), (1, 3, 1), (3, 7, 0), (7, 30, 1), (30, None, 1),
    ]  # fmt: skip
    assert shown["count"] == 5
    youngest, *_, oldest = shown["buckets"]
    assert youngest["amounts"] == [
        {"currency": "EUR", "count": 1, "amount": "9.90"},
        {"currency": "JPY", "count": 1, "amount": "7"},
    ]
    assert youngest["assigned"] == 1
    assert youngest["by_severity"] == {"low": 1, "medium": 0, "high": 1, "critical": 0}
    assert oldest["by_severity"]["high"] == 1
    assert abs(datetime.fromisoformat(shown["as_of"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_is_counted_can_be_chosen_and_listed(aged, client):
    assert ages(client, currency="JPY")["count"] == 1
    assert ages(client, assignee="ann")["count"] == 1
    assert ages(client, assignee="bob")["count"] == 0
    assert client.get(PATH).json()["count"] > 5
    as_of = datetime.fromisoformat(ages(client)["as_of"])
    listed = client.get(
        "/api/v1/exceptions",
        params={
            "reconciliation_id": "refunds", "status": "open",
            "from_time": (as_of - timedelta(days=30)).isoformat(),
            "to_time": (as_of - timedelta(days=7)).isoformat(),
        },
    ).json()["items"]  # fmt: skip
    assert [one["transaction_id"] for one in listed] == ["week"]


def test_an_instant_may_have_any_offset(aged, client):
    for field, text, status in (
        ("from_time", "0071-09-18T08:06:06-18:44", 200),
        ("to_time", "2026-01-05T12:00:00+23:59", 200),
        ("to_time", "9999-12-31T23:00:00-02:00", 400),
    ):
        answer = client.get("/api/v1/exceptions", params={field: text})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("query", [{"currency": "eur"}, {"days": 3}, {"assignee": ""}])
def test_what_cannot_be_meant_is_refused(client, query):
    answer = client.get(PATH, params=query)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


# What is due ---------------------------------------------------------------------------------


def listed(client, **query) -> dict[str, dict]:
    answer = client.get("/api/v1/exceptions", params={"reconciliation_id": "refunds", **query})
    assert answer.status_code == 200, answer.text
    return {one["transaction_id"]: one for one in answer.json()["items"]}


@pytest.fixture
def due_after(served, client):
    """Says how soon exceptions are due; afterwards as by default."""
    default = client.get("/api/v1/tenant").json()["due_hours"]
    assert default == {"low": 168, "medium": 72, "high": 24, "critical": 4}

    def change(**hours: int) -> None:
        changed = client.patch("/api/v1/tenant", json={"due_hours": {**default, **hours}})
        assert changed.status_code == 200, changed.text
        assert changed.json()["due_hours"] == {**default, **hours}
        assert client.get("/api/v1/tenant").json() == changed.json()

    yield change
    assert client.patch("/api/v1/tenant", json={"due_hours": default}).status_code == 200


def test_an_exception_is_due_by_its_severity_and_overdue_while_it_is_open(aged, client):
    shown = listed(client, limit=199)
    assert {name for name, one in shown.items() if one["overdue"]} == {"day", "week", "old"}
    for one in shown.values():
        hours = {"high": 24, "low": 168}[one["severity"]]
        opened, due = (datetime.fromisoformat(one[name]) for name in ("opened_at", "due_at"))
        assert due - opened == timedelta(hours=hours)
    assert shown["two"]["status"] == "dismissed"
    one = client.get(f"/api/v1/exceptions/{shown['old']['exception_id']}").json()
    assert (one["overdue"], one["due_at"]) == (True, shown["old"]["due_at"])


def test_overdue_ones_can_be_listed_and_are_counted_by_age(aged, client):
    for order in ("newest", "oldest"):
        assert set(listed(client, overdue=True, order=order)) == {"day", "week", "old"}
        assert set(listed(client, overdue=False, order=order)) == {"young", "two", "yen"}
    assert listed(client, overdue=True, severity="low") == {}
    shown = ages(client)
    assert shown["overdue"] == 3
    assert [one["overdue"] for one in shown["buckets"]] == [0, 1, 0, 1, 1]


def test_the_tenant_says_how_soon_and_no_other_tenant_notices(aged, served, client, due_after):
    with served.client(served.globex) as globex:
        before = {name: one["due_at"] for name, one in listed(globex, limit=198).items()}
        due_after(high=24 * 30)
        assert set(listed(client, overdue=True, limit=197)) == {"old"}
        assert ages(client)["overdue"] == 1
        assert {name: one["due_at"] for name, one in listed(globex, limit=197).items()} == before
        assert globex.get("/api/v1/tenant").json()["due_hours"]["high"] == 24


@pytest.mark.parametrize(
    "body",
    [
        {}, {"due_hours": {"low": 1}}, {"due_hours": None},
        {"due_hours": {"low": 0, "medium": 1, "high": 1, "critical": 1}},
        {"due_hours": {"low": 8761, "medium": 1, "high": 1, "critical": 1}},
        {"due_hours": {"low": 1, "medium": 1, "high": 1, "critical": 1, "tenant_id": 1}},
    ],
)  # fmt: skip
def test_hours_that_cannot_be_meant_are_refused(client, body):
    answer = client.patch("/api/v1/tenant", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")
    assert client.get("/api/v1/tenant").json()["due_hours"]["low"] == 168
