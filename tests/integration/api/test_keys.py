"""API keys over HTTP: a key may do no more than who made it, and rotation leaves no gap."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from connectors.postgres.users import change_user
from tests.integration.api.people import add_person, bearing, key_of

KEYS = "/api/v1/keys"
ME = "/api/v1/me"


@pytest.fixture
def developer(served):
    person = add_person(served)
    with person.client() as client:
        yield person, client


def make(client, **body):
    answer = client.post(KEYS, json={"name": "a key"} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def works(served, key: str) -> bool:
    with bearing(served, key) as client:
        return client.get(ME).status_code == 200


def test_a_key_is_shown_once(served, developer):
    person, client = developer
    answer = client.post(KEYS, json={"name": "till", "scopes": ["read"]})
    made = answer.json()
    assert answer.headers["location"] == f"{KEYS}/{made['key_id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert made["key"].startswith(f"rk_{made['key_id']}_")
    assert (made["role"], made["scopes"]) == ("developer", ["read"])
    assert made["user_id"] == str(person.user_id)
    assert works(served, made["key"])
    shown = client.get(f"{KEYS}/{made['key_id']}").json()
    assert "key" not in shown
    assert shown["status"] == "active"
    assert shown["last_used_at"] is not None
    listed = client.get(KEYS)
    assert [item["key_id"] for item in listed.json()["items"]] == [made["key_id"]]
    assert made["key"].removeprefix(f"rk_{made['key_id']}_") not in listed.text + str(shown)


def test_a_revoked_key_opens_nothing(served, developer):
    _, client = developer
    made = make(client)
    assert works(served, made["key"])
    assert client.delete(f"{KEYS}/{made['key_id']}").status_code == 204
    assert not works(served, made["key"])
    assert client.get(f"{KEYS}/{made['key_id']}").json()["status"] == "revoked"
    again = client.post(f"{KEYS}/{made['key_id']}/rotate", json={})
    assert (again.status_code, again.json()["error"]) == (409, "key_ended")


def test_the_old_key_works_on_for_the_overlap(served, developer):
    _, client = developer
    made = make(client, scopes=["exceptions:read"])
    path = f"{KEYS}/{made['key_id']}/rotate"
    next_one = client.post(path, json={"overlap_seconds": 600}).json()
    assert next_one["rotated_from"] == made["key_id"]
    assert (next_one["role"], next_one["scopes"]) == (made["role"], made["scopes"])
    assert works(served, made["key"])
    assert works(served, next_one["key"])
    ends = datetime.fromisoformat(client.get(f"{KEYS}/{made['key_id']}").json()["expires_at"])
    assert abs(ends - datetime.now(UTC) - timedelta(seconds=600)) < timedelta(seconds=60)
    # Rotated again without an overlap it ends at once, and never later than it was to.
    client.post(path, json={"overlap_seconds": 0})
    assert not works(served, made["key"])
    assert client.get(f"{KEYS}/{made['key_id']}").json()["status"] == "expired"


def test_a_developer_reaches_only_keys_of_their_own(served, developer):
    _, client = developer
    with add_person(served).client() as colleague, add_person(served, "admin").client() as admin:
        theirs = make(colleague)["key_id"]
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
            answer = client.request(method, f"{KEYS}/{theirs}{path}", json={})
            assert answer.json()["error"] == "not_found", answer.text
        assert theirs not in client.get(KEYS).text
        assert theirs in admin.get(f"{KEYS}?limit=200").text
        assert admin.delete(f"{KEYS}/{theirs}").status_code == 204


def test_a_key_may_do_no_more_than_its_maker(served, developer):
    _, client = developer
    assert client.post(KEYS, json={"name": "x", "role": "admin"}).json()["error"] == "forbidden"
    with add_person(served, "admin").client(scopes=["keys:write", "keys:read", "read"]) as admin:
        wide = admin.post(KEYS, json={"name": "x", "role": "admin"})
        assert wide.json()["error"] == "forbidden"
        assert "exceptions:write" in wide.json()["message"]
        make(admin, role="viewer", scopes=["read"])
    with bearing(served, key_of(served, "admin")) as admin:
        owners = admin.post(f"{KEYS}/{served.acme.key_id}/rotate", json={})
        assert owners.json()["error"] == "forbidden"
        assert make(admin)["user_id"] is None


def test_a_key_follows_its_owner_down_and_never_up(served):
    person = add_person(served, "admin")
    with person.client() as client:
        key = make(client, role="admin")["key"]

    def role_now():
        # Another client each time; what is remembered of a key is for five seconds.
        with served.client() as other, bearing(served, served.acme.key) as owner:
            other.headers["Authorization"] = f"Bearer {key}"
            owner.patch(f"/api/v1/users/{person.user_id}", json={"name": "forget what is known"})
            return other.get(ME).json().get("role")

    assert role_now() == "admin"
    with served.connect() as connection:
        change_user(connection, "acme", person.email, role="viewer")
        assert role_now() == "viewer"
        change_user(connection, "acme", person.email, role="owner")
        assert role_now() == "admin"
        change_user(connection, "acme", person.email, disabled=True)
        assert role_now() is None


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "a\x00b"}, {"name": "x" * 129}, {"name": "x", "role": "root"},
     {"name": "x", "scopes": ["all"]}, {"name": "x", "scopes": "read"},
     {"name": "x", "key_id": "a"},
     {"name": "x", "tenant_id": "globex"}, {"name": "x", "user_id": None},
     {"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, {"name": "x", "expires_at": "2030-01-01"},
     {"name": "x\ud800"}],
)  # fmt: skip
def test_a_key_that_cannot_be_made(served, body):
    # Written in ASCII, so that half a surrogate pair gets as far as the service.
    headers = {"Content-Type": "application/json"}
    with bearing(served, served.acme.key) as client:
        answer = client.post(KEYS, content=json.dumps(body), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


def test_keys_come_in_pages(served):
    person = add_person(served)
    with person.client() as client:
        made = [make(client)["key_id"] for _ in range(5)]
        seen, cursor = [], None
        while True:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = client.get(KEYS, params=query).json()
            seen += [item["key_id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert seen == made
