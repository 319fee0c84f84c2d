"""A browser, and the API it looks at; the API's own fixtures serve here too."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.driving import Browser, find_programs
from tests.integration.api.conftest import api_settings, populated_url, served, tenants

__all__ = ["api_settings", "populated_url", "served", "tenants"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the browser out unless it is asked for, as `make browser-test` does."""
    if "browser" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("browser")]


@pytest.fixture
def open_browser(tmp_path) -> Iterator[Callable[..., Browser]]:
    """Start browsers that end with the test."""
    if find_programs() is None:
        pytest.skip("no Chromium with its chromedriver on this machine")
    started = []

    def start(**options: bool) -> Browser:
        started.append(Browser(tmp_path / f"profile-{len(started)}", **options))
        return started[-1]

    yield start
    for browser in started:
        browser.close()


@pytest.fixture
def browser(open_browser) -> Browser:
    """One browser."""
    return open_browser()


@pytest.fixture(scope="session")
def keep_screenshots() -> Path | None:
    """Where to keep pictures for a person to look at: SCREENSHOTS names a folder."""
    folder = os.environ.get("SCREENSHOTS")
    return Path(folder) if folder else None
