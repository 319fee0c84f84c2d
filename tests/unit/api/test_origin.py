"""Which requests a browser was made to send by another site."""

import pytest
from starlette.requests import Request

from api.errors import ApiError
from api.origins import require_same_origin


def request(**headers: str) -> Request:
    sent = {"host": "settler.example", **{k.replace("_", "-"): v for k, v in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    return Request({"type": "http", "method": "POST", "headers": raw})


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "https://settler.example"},
        {"sec_fetch_site": "same-origin", "origin": "https://proxy.example"},
    ],
)
def test_what_comes_from_here_passes(headers):
    require_same_origin(request(**headers), stated=True)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "https://settler.example"},
        {"origin": "https://settler.example.evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {},
    ],
)
def test_what_comes_from_elsewhere_does_not(headers):
    with pytest.raises(ApiError) as caught:
        require_same_origin(request(**headers), stated=True)
    assert caught.value.code == "cross_site_request"


def test_a_client_that_is_no_browser_states_nothing():
    require_same_origin(request(), stated=False)
