"""Links within the project lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT)
    for place in ("*.md", "docs/**/*.md", "deploy/**/*.md")
    for page in ROOT.glob(place)
)
_TARGET = re.compile(r"\]\(([^)\s#]+)")


def lost(page: Path) -> list[str]:
    """The targets of a page's links that are not there."""
    targets = [one for one in _TARGET.findall(page.read_text()) if "://" not in one]
    return [one for one in targets if not (page.parent / one).exists()]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_of_a_page_lead_somewhere(page):
    assert lost(ROOT / page) == []


def test_a_link_to_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[here](page.md#part), [there](gone.md), [away](https://example.com/x)")
    assert lost(page) == ["gone.md"]
    assert Path("README.md") in PAGES
