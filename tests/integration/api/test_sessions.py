"""A browser's session: a key goes in, a cookie comes out, and other sites cannot use it."""

import pytest

from api.identity import COOKIE, SESSION_SECONDS
from tests.integration.api.rows import DEFINITION

PATH = "/api/v1/session"


@pytest.fixture
def browser(served):
    """A client that is signed in as acme."""
    with served.client() as anonymous:
        answer = anonymous.post(PATH, json={"key": served.acme.key})
        assert answer.status_code == 201, answer.text
        yield anonymous


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(served):
    with served.client() as anonymous:
        answer = anonymous.post(PATH, json={"key": f" {served.acme.key}\n"})
    cookie = answer.headers["set-cookie"]
    parts = {part.strip().lower() for part in cookie.split(";")}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={SESSION_SECONDS}"} <= parts
    assert served.acme.key not in cookie
    assert answer.json()["tenant_id"] == "acme"
    assert answer.headers["cache-control"] == "no-store"


def test_a_session_reads_as_its_key_does(browser):
    info = browser.get(PATH).json()
    assert info["tenant_id"] == "acme"
    assert info["expires_at"] is not None
    assert browser.get("/api/v1/reconciliations").status_code == 200


def test_signing_out_takes_the_cookie_back(browser):
    assert browser.delete(PATH).status_code == 204
    assert browser.get(PATH).status_code == 401


@pytest.mark.parametrize("key", ["", "nonsense", "rk_abc_def"])
def test_what_is_no_key_gives_no_session(served, key):
    with served.client() as anonymous:
        answer = anonymous.post(PATH, json={"key": key})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [{}, {"key": 3}, {"key": "x", "more": 1}, [], "rk_a_b"])
def test_a_sign_in_of_another_form_is_refused(served, body):
    with served.client() as anonymous:
        answer = anonymous.post(PATH, json=body)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "change",
    [lambda value: value[:-1], lambda value: "x" + value, lambda value: value.replace(".", ".9", 1),
     lambda value: value[:0], lambda value: value[:0] + "..",
     lambda value: "a.1." + value.rpartition(".")[2]],
)  # fmt: skip
def test_a_forged_cookie_opens_nothing(served, browser, change):
    forged = change(browser.cookies[COOKIE])
    with served.client() as other:
        answer = other.get(PATH, headers={"Cookie": f"{COOKIE}={forged}"})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_a_write_with_the_cookie_comes_from_here(browser, headers, status):
    answer = browser.put("/api/v1/reconciliations", json=DEFINITION, headers=headers)
    assert answer.status_code == status, answer.text


def test_a_write_with_the_cookie_may_state_our_origin(served, browser):
    answer = browser.put("/api/v1/reconciliations", json=DEFINITION, headers={"Origin": served.url})
    assert answer.status_code == 202


def test_another_site_cannot_sign_a_browser_in(served):
    with served.client() as anonymous:
        form = anonymous.post(PATH, data={"key": served.acme.key})
        assert form.status_code == 415
        foreign = anonymous.post(
            PATH, json={"key": served.acme.key}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert foreign.status_code == 403
