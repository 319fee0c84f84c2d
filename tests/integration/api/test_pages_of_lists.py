"""Lists in pages are complete, without repetition, also while rows are added."""

import pytest

from api.pagination import encode_cursor
from tests.integration.api.rows import Log, add_exception, add_match

LISTS = {
    "/reconciliations": "reconciliation_id",
    "/matches": "match_id",
    "/suggestions": "match_id",
    "/exceptions": "exception_id",
    "/dead-letters": "dead_letter_id",
    "/usage": "usage_date",
    "/hotspots": None,
    "/events": "event_id",
    "/reconciliations/orders/versions": "version",
}


def parameters_of(path):
    return {"aggregate_id": "orders"} if path == "/events" else {}


def walk(client, path, limit, between=lambda: None, **parameters):
    """Read a whole list; `between` runs after each page."""
    items, cursor, pages = [], None, 0
    while True:
        query = {**parameters_of(path), **parameters, "limit": limit}
        answer = client.get(f"/api/v1{path}", params=query | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["items"]) <= limit
        items += body["items"]
        cursor, pages = body["next_cursor"], pages + 1
        if cursor is None:
            return items
        assert pages < 200
        between()


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_add_up_to_the_list(client, path, limit):
    whole = walk(client, path, 200)
    assert whole
    assert walk(client, path, limit) == whole


@pytest.mark.parametrize("limit", [1, 3])
def test_the_events_of_large_batches_are_all_there(client, limit):
    events = walk(client, "/events", limit)
    versions = [event["stream_version"] for event in events]
    assert versions == list(range(1, len(events) + 1))


@pytest.mark.parametrize(
    ("path", "name"), [("/matches", "match_id"), ("/exceptions", "exception_id")]
)
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_rows_added_while_paging_move_no_others(served, client, path, name, order):
    before = {item[name] for item in walk(client, path, 200, reconciliation_id="orders")}
    added: list[str] = []
    with served.connect() as connection:
        log = Log(connection)
        log.versions["acme/orders"] = 10_000

        def add() -> None:
            if len(added) == 4:
                return
            if path == "/matches":
                added.append(add_match(log, "acme", "orders", log.position))
            else:
                added.append(add_exception(log, "acme", "orders", f"added-{log.position}"))

        filters = {"reconciliation_id": "orders", "order": order}
        found = [item[name] for item in walk(client, path, 2, add, **filters)]
        connection.execute("DELETE FROM event_store WHERE base_version >= 10000")
        connection.execute(
            f"DELETE FROM {path[1:]} WHERE {name} = ANY (%s::uuid[])".encode(), (added,)
        )
    assert len(added) >= 2
    assert len(found) == len(set(found))
    assert before <= set(found)
    assert set(found) == (before if order == "newest" else before | set(added))


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "201", "-1", "many", "1.5"])
def test_a_limit_out_of_range_is_refused(client, path, limit):
    answer = client.get(f"/api/v1{path}", params={**parameters_of(path), "limit": limit})
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_parameter"
    assert answer.json()["details"][0]["path"] == "limit"


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "cursor",
    ["x", "!!", "e30", encode_cursor([]), encode_cursor([True]), encode_cursor([2**63]),
     encode_cursor(["\x00"]), encode_cursor([1, 2, 3, 4, 5, 6]), encode_cursor(["a", "b"]),
     "W" * 400],
)  # fmt: skip
def test_a_cursor_of_ones_own_making_is_refused(client, path, cursor):
    answer = client.get(f"/api/v1{path}", params={**parameters_of(path), "cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_cursor"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/matches", {"colour": "red"}),
        ("/matches", {"status": "lost"}),
        ("/exceptions", {"severity": "mild"}),
        ("/exceptions", {"currency": "eur"}),
        ("/exceptions", {"reconciliation_id": "A B"}),
        ("/exceptions", {"rule": "a\x00b"}),
        ("/usage", {"from_date": "yesterday"}),
        ("/events", {}),
        ("/events", {"aggregate_id": "orders", "correlation_id": "x"}),
        ("/reconciliations/orders/definition", {"version": 0}),
    ],
)
def test_a_filter_that_means_nothing_is_refused(client, path, query):
    answer = client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_parameter"


def test_a_parameter_that_stands_twice_is_refused(client):
    assert client.get("/api/v1/matches?limit=1&limit=2").status_code == 400
