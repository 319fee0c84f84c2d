"""The short way of kept answers: nothing is different there but the time it takes."""

import time

import httpx
import pytest
from prometheus_client import REGISTRY

from api import kept_requests
from api.request_limits import BODY_BYTES_MAX, HEADERS_MAX
from tests.integration.api.people import bearing, key_of

PAGE = "/api/v1/exceptions"
SUMMARY = "/api/v1/reconciliations/orders/summary"
# A header that a plain request does not have; no origin is allowed here, so it changes nothing.
LONG_WAY = {"Origin": "https://elsewhere.example"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def short_ways(monkeypatch) -> list[str]:
    """The routes of requests that were answered the short way."""
    taken: list[str] = []
    messages = kept_requests._messages

    def noting(scope, hit):
        taken.append(hit.asked.route)
        return messages(scope, hit)

    monkeypatch.setattr(kept_requests, "_messages", noting)
    return taken


def warm(client: httpx.Client, path: str, short_ways: list[str]) -> httpx.Response:
    """Ask until the answer comes the short way; gives it."""
    deadline = time.monotonic() + 10
    before = len(short_ways)
    while True:
        answer = client.get(path)
        assert answer.status_code == 200
        if len(short_ways) > before:
            return answer
        assert time.monotonic() < deadline, "no request went the short way"


@pytest.mark.parametrize("path", [PAGE, SUMMARY])
@pytest.mark.parametrize("is_known", [False, True])
def test_the_answer_is_the_long_ways_to_the_last_header(client, short_ways, path, is_known):
    etag = warm(client, path, short_ways).headers["etag"]
    headers = {"X-Request-Id": "same-1", "traceparent": PARENT}
    if is_known:
        headers["If-None-Match"] = etag
    short_ways.clear()
    long = client.get(path, headers={**headers, **LONG_WAY})
    assert short_ways == []
    short = client.get(path, headers=headers)
    assert len(short_ways) == 1
    assert short.status_code == long.status_code == (304 if is_known else 200)
    assert short.content == long.content
    changing = {"date", "ratelimit-remaining", "ratelimit-reset"}
    shown = [
        sorted(pair for pair in answer.headers.multi_items() if pair[0] not in changing)
        for answer in (short, long)
    ]
    assert shown[0] == shown[1]
    assert set(short.headers) == set(long.headers)
    assert short.headers["x-trace-id"] == "0af7651916cd43dd8448eb211c80319c"
    spent = int(long.headers["ratelimit-remaining"]) - int(short.headers["ratelimit-remaining"])
    assert spent == 1


def test_a_key_that_was_taken_back_is_refused_at_once(served, short_ways):
    with served.client(served.acme) as owner:
        made = owner.post("/api/v1/keys", json={"name": "short", "role": "viewer"}).json()
        with bearing(served, made["key"]) as client:
            warm(client, PAGE, short_ways)
            assert owner.delete(f"/api/v1/keys/{made['key_id']}").status_code in {200, 204}
            short_ways.clear()
            assert client.get(PAGE).status_code == 401
    assert short_ways == []


def test_a_key_is_refused_without_its_secret_or_scope(served, client, short_ways):
    warm(client, PAGE, short_ways)
    key = served.acme.key
    wrong = [
        f"Bearer {key[:-1]}{'a' if key[-1] != 'a' else 'b'}", f"Bearer {key.rpartition('_')[0]}_",
        f"Basic {key}", key, "Bearer",
    ]  # fmt: skip
    with served.client() as anonymous:
        for value in wrong:
            answer = anonymous.get(PAGE, headers={"Authorization": value})
            assert answer.status_code == 401, value
        assert anonymous.get(PAGE).status_code == 401
    with bearing(served, key_of(served, "viewer", ["usage:read"])) as narrow:
        assert [narrow.get(PAGE).status_code for _ in range(3)] == [403] * 3


def test_the_first_of_two_credentials_counts_as_on_the_long_way(served, short_ways):
    with served.client(served.acme) as client:
        warm(client, PAGE, short_ways)
    with served.client() as both:
        first = [("Authorization", f"Bearer {served.acme.key}"), ("Authorization", "Bearer rk_x")]
        for extra in ([], list(LONG_WAY.items())):
            assert both.get(PAGE, headers=[*first, *extra]).status_code == 200
            assert both.get(PAGE, headers=[*reversed(first), *extra]).status_code == 401


def test_a_limit_counts_requests_of_both_ways_alike(served, short_ways):
    with served.client(served.acme) as owner:
        body = {"name": "slow", "requests_per_minute": 6, "role": "viewer"}
        key = owner.post("/api/v1/keys", json=body).json()["key"]
        warm(owner, PAGE, short_ways)
    short_ways.clear()
    with bearing(served, key) as client:
        answers = [client.get(PAGE, headers=LONG_WAY if n % 2 else {}) for n in range(9)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 3
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers[6:])
    assert len(short_ways) in {2, 3}


def test_what_is_too_large_is_refused_as_ever(client, short_ways):
    warm(client, PAGE, short_ways)
    short_ways.clear()
    many = {f"X-{number}": "x" for number in range(HEADERS_MAX)}
    assert client.get(PAGE, headers=many).status_code == 431
    assert client.get(PAGE, headers={"X-Large": "x" * 33_000}).status_code == 431
    assert client.request("GET", PAGE, content=b"x" * (BODY_BYTES_MAX + 1)).status_code == 413
    assert short_ways == []


def test_a_short_way_is_counted_and_timed(client, short_ways):
    warm(client, PAGE, short_ways)
    labels = {"method": "GET", "route": PAGE}

    def figures() -> tuple[float, float]:
        counted = REGISTRY.get_sample_value(
            "settler_api_requests_total", {**labels, "status": "200"}
        )
        timed = REGISTRY.get_sample_value("settler_api_request_seconds_count", labels)
        return counted or 0.0, timed or 0.0

    short_ways.clear()
    before = figures()
    for _ in range(5):
        client.get(PAGE)
    assert short_ways == [PAGE] * 5
    assert figures() == (before[0] + 5, before[1] + 5)
    assert REGISTRY.get_sample_value("settler_api_requests_in_flight") == 0


def test_a_path_that_looks_like_anothers_target_is_not_it(client, short_ways):
    warm(client, f"{PAGE}?limit=7", short_ways)
    short_ways.clear()
    assert client.get(f"{PAGE}%3Flimit=7").status_code == 404
    assert client.get(f"{PAGE}?limit=8").json() != {}
    assert client.get(f"{PAGE}?limit=7&limit=7").status_code == 400
    assert short_ways == []
