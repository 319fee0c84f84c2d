"""Dead letters taken up again: asked for over the API, one or many, and what shows of it."""

import uuid

import pytest

from api import dead_letters
from tests.integration.api.people import bearing, key_of

PATH = "/api/v1/dead-letters"


@pytest.fixture
def letters(served):
    """Acme's dead letters as nobody has touched them."""
    reset = (
        "UPDATE dead_letter_queue SET redrive_requested_at = NULL, redriven_at = NULL,"
        " redrive_outcome = NULL"
    )
    with served.connect() as connection:
        connection.execute(reset)
        yield served.acme.ids["dead_letters"]
        connection.execute(reset)


def take_up(served, letter_id: str, outcome: str | None) -> None:
    """Do what the flow does."""
    with served.connect() as connection:
        connection.execute(
            "UPDATE dead_letter_queue SET redriven_at = now(), redrive_outcome = %s"
            " WHERE dead_letter_id = %s",
            (outcome, letter_id),
        )


def requested(served) -> set[str]:
    """What the flow finds to do."""
    with served.connect() as connection:
        found = connection.execute(
            "SELECT dead_letter_id::text FROM dead_letter_queue"
            " WHERE redriven_at IS NULL AND redrive_requested_at IS NOT NULL"
        ).fetchall()
    return {one for (one,) in found}


def audited(served) -> list[dict]:
    with bearing(served, key_of(served, "admin")) as admin:
        query = {"action": "redrive_dead_letter", "limit": 5}
        return admin.get("/api/v1/audit-log", params=query).json()["items"]


def test_one_is_asked_for_once_and_shows_what_came_of_it(served, client, letters):
    letter = letters[0]
    assert client.get(f"{PATH}/{letter}").json()["redrive"] == "none"
    lines = len(audited(served))
    first = client.post(f"{PATH}/{letter}/redrive")
    assert first.status_code == 202, first.text
    assert first.json()["redrive"] == "requested"
    assert requested(served) == {letter}
    # Again changes nothing, not even when it was asked for.
    again = client.post(f"{PATH}/{letter}/redrive").json()
    assert again["redrive_requested_at"] == first.json()["redrive_requested_at"]
    assert len(audited(served)) == min(lines + 1, 5)
    for outcome, shown in (("refused", "refused"), ("accepted", "accepted"), (None, "done")):
        take_up(served, letter, outcome)
        found = client.get(f"{PATH}/{letter}").json()
        assert (found["redrive"], found["redriven_at"] is None) == (shown, False)
    assert client.post(f"{PATH}/{letter}/redrive").json()["redrive"] == "requested"
    waited = client.post(f"{PATH}/{letter}/redrive", params={"wait": 0.2})
    assert (waited.status_code, waited.json()["redrive"]) == (202, "requested")


def test_another_tenants_letter_is_not_found(served, letters):
    with served.client(served.globex) as globex:
        answer = globex.post(f"{PATH}/{letters[0]}/redrive")
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
        foreign = globex.post(f"{PATH}/redrive", json={"dead_letter_ids": letters})
        assert foreign.json() == {"requested": 0, "more": False}
    assert requested(served) == set()


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        ({"code": "invalid_amount"}, 5), ({"code": "too_old"}, 0), ({"side": "source"}, 5),
        ({"side": "target"}, 0), ({"reconciliation_id": "orders"}, 5),
        ({"reconciliation_id": "others"}, 0), ({"code": "invalid_amount", "side": "target"}, 0),
    ],
)  # fmt: skip
def test_many_are_chosen_by_what_they_are(served, client, letters, body, chosen):
    answer = client.post(f"{PATH}/redrive", json=body)
    assert (answer.status_code, answer.json()) == (202, {"requested": chosen, "more": False})
    assert requested(served) == (set(letters) if chosen else set())


def test_many_leave_alone_what_is_on_its_way_or_in(served, client, letters):
    client.post(f"{PATH}/{letters[0]}/redrive")
    take_up(served, letters[1], "accepted")
    take_up(served, letters[2], "refused")
    body = {"dead_letter_ids": [*letters[:3], str(uuid.uuid4())]}
    assert client.post(f"{PATH}/redrive", json=body).json()["requested"] == 1
    assert requested(served) == {letters[0], letters[2]}
    assert client.post(f"{PATH}/redrive", json=body).json()["requested"] == 0


def test_more_than_one_request_takes_are_asked_for_in_turn(served, client, letters, monkeypatch):
    monkeypatch.setattr(dead_letters, "REDRIVE_MAX", 2)
    told = [client.post(f"{PATH}/redrive", json={"side": "source"}).json() for _ in range(4)]
    assert [one["requested"] for one in told] == [2, 2, 1, 0]
    assert [one["more"] for one in told] == [True, True, False, False]
    assert requested(served) == set(letters)


@pytest.mark.parametrize(
    "body",
    [{}, {"code": None}, {"dead_letter_ids": []}, {"dead_letter_ids": ["x"]}, {"all": True},
     {"code": "No"}],
)  # fmt: skip
def test_which_ones_has_to_be_said(served, client, letters, body):
    answer = client.post(f"{PATH}/redrive", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")
    assert requested(served) == set()
