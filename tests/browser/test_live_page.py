"""The live page in a real browser."""

import itertools

import pytest

from tests.integration.api.rows import Log, add_exception
from tests.integration.api.serving import serving

pytestmark = pytest.mark.browser

VISIBLE = "return document.querySelector(arguments[0])?.checkVisibility() ?? false"
NO_OVERFLOW = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def sign_in(browser, url, key):
    browser.open(url)
    browser.wait(lambda: browser.run(VISIBLE, "#sign-in"))
    browser.type("#key", key)
    browser.click("#sign-in-form button")


def live(browser):
    return browser.wait(lambda: browser.text("#state") == "Live")


def move(connection, log, **figures):
    changes = ", ".join(f"{name} = {name} + {by}" for name, by in figures.items())
    connection.execute(
        f"UPDATE reconciliation_summary SET {changes}, position = %s"
        " WHERE tenant_id = 'acme' AND reconciliation_id = 'orders'".encode(),
        (log.position,),
    )
    connection.execute("UPDATE projection_checkpoints SET position = %s", (log.position,))
    connection.execute("NOTIFY settler_read_models")


@pytest.fixture
def signed_in(served, browser):
    sign_in(browser, served.url, served.acme.key)
    live(browser)
    browser.wait(lambda: len(browser.texts("#cards .card")) == 2)
    return browser


def test_a_key_is_exchanged_for_a_cookie_scripts_cannot_read(served, signed_in):
    (cookie,) = signed_in.cookies()
    assert (cookie["name"], cookie["httpOnly"]) == ("settler_session", True)
    assert cookie["sameSite"] == "Strict"
    assert signed_in.run("return document.cookie") == ""
    assert signed_in.run("return location.href") == f"{served.url}/"
    kept = signed_in.run("return localStorage.length + sessionStorage.length")
    assert kept == 0
    assert signed_in.run("return document.getElementById('key').value") == ""


def test_a_wrong_key_is_told_in_words(served, browser):
    sign_in(browser, served.url, "rk_nobody_nothing")
    said = browser.wait(lambda: browser.text("#sign-in-error"))
    assert "not known" in said
    assert not browser.run(VISIBLE, "#live")


def test_figures_and_newest_exceptions_are_shown(signed_in):
    assert signed_in.text("#tenant") == "acme"
    assert signed_in.text("#total-match") == "80.00%"
    assert signed_in.text("[data-reconciliation=orders] .match") == "80.00%"
    rows = signed_in.wait(lambda: signed_in.texts("[data-reconciliation=orders] tbody tr"))
    assert len(rows) == 5
    assert "9.90 EUR" in rows[0]
    assert signed_in.text("[data-reconciliation=refunds] .none") == "None so far."
    assert not [line for line in signed_in.console() if "Content Security" in line["message"]]


def test_what_moves_appears_by_itself(served, signed_in):
    before = int(signed_in.text("[data-reconciliation=orders] .open"))
    with served.connect() as connection:
        log = Log(connection)
        log.versions["acme/orders"] = 200_000
        add_exception(log, "acme", "orders", "<b>markup</b>", severity="critical")
        move(connection, log, exceptions_open=1, accepted_source=5_000, transactions_matched=4_000)
    open_now = "[data-reconciliation=orders] .open"
    signed_in.wait(lambda: signed_in.text(open_now) == str(before + 1))
    first = "[data-reconciliation=orders] tbody tr:first-child .transaction"
    signed_in.wait(lambda: signed_in.text(first) == "<b>markup</b>")
    # Shown as text: what a record holds never becomes part of the page.
    assert signed_in.run("return document.querySelectorAll('tbody b').length") == 0
    signed_in.wait(lambda: int(signed_in.text("#total-rate").replace(",", "")) > 0)


def test_the_session_outlives_a_reload_and_ends_on_sign_out(signed_in, served):
    signed_in.open(served.url)
    live(signed_in)
    signed_in.click("#sign-out")
    signed_in.wait(lambda: signed_in.run(VISIBLE, "#sign-in"))
    assert signed_in.cookies() == []
    signed_in.open(served.url)
    signed_in.wait(lambda: signed_in.run(VISIBLE, "#sign-in"))


def test_it_connects_again_after_the_service_was_away(
    browser, populated_url, tenants, api_settings
):
    settings = api_settings(database_url=populated_url)
    with serving(settings) as url:
        port = int(url.rpartition(":")[2])
        sign_in(browser, url, tenants[0].key)
        live(browser)
    browser.wait(lambda: browser.run("return document.getElementById('state').dataset.state")
                 == "waiting")  # fmt: skip
    assert browser.run(VISIBLE, "[data-reconciliation=orders]"), "what was known stays to be seen"
    with serving(settings, port):
        live(browser)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1440])
def test_it_fits_and_can_be_read(served, open_browser, keep_screenshots, dark, width):
    browser = open_browser(dark=dark)
    browser.resize(width, 1000)
    browser.open(served.url)
    browser.wait(lambda: browser.run(VISIBLE, "#sign-in"))
    assert browser.run(NO_OVERFLOW)
    sign_in(browser, served.url, served.acme.key)
    live(browser)
    browser.wait(lambda: browser.texts("[data-reconciliation=orders] tbody tr"))
    assert browser.run(NO_OVERFLOW)
    scheme = "return matchMedia('(prefers-color-scheme: dark)').matches"
    assert browser.run(scheme) is dark
    assert browser.run(CONTRAST) == []
    if keep_screenshots:
        shade = "dark" if dark else "light"
        browser.screenshot(keep_screenshots / f"live-{width}-{shade}.png")


def test_it_can_be_used_by_keyboard_and_screen_reader(signed_in):
    unnamed = signed_in.run(UNNAMED)
    assert unnamed == []
    headings = signed_in.run(
        "return [...document.querySelectorAll('h1,h2,h3')].filter(e => e.checkVisibility())"
        ".map(e => +e.tagName[1])"
    )
    assert headings[0] == 1
    assert all(deeper - level <= 1 for level, deeper in itertools.pairwise(headings))
    assert signed_in.run("return document.getElementById('state').getAttribute('role')") == "status"
    share = signed_in.run(
        "return document.querySelector('[data-reconciliation=orders] .share').ariaLabel"
    )
    assert "matched 80" in share or "matched 4080" in share


def test_the_documentation_lists_every_operation_and_tries_one(signed_in, served, keep_screenshots):
    signed_in.open(f"{served.url}/api/v1/docs")
    signed_in.wait(lambda: signed_in.texts(".operation"))
    document = signed_in.run("return fetch('/api/v1/openapi.json').then(answer => answer.json())")
    described = [name for path in document["paths"].values() for name in path]
    assert len(signed_in.texts(".operation")) == len(described)
    signed_in.click("#list_suggestions details:last-of-type summary")
    signed_in.click("#list_suggestions .try button")
    answer = signed_in.wait(lambda: signed_in.texts("#list_suggestions > details:last-of-type pre"))
    signed_in.wait(lambda: "200" in signed_in.texts("#list_suggestions pre[aria-live]")[0])
    assert answer
    if keep_screenshots:
        signed_in.screenshot(keep_screenshots / "docs.png")


#: Texts whose contrast with their background is below 4.5 (WCAG 2.2, success criterion 1.4.3).
CONTRAST = """
const parse = (text) => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => v / 255).map(
    (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (parse(colour)[3] === 255) return parse(colour);
  }
  return [255, 255, 255, 255];
};
const poor = [];
for (const element of document.querySelectorAll('body *')) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !element.checkVisibility() || element.closest('svg')) continue;
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push(`${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
}
return poor;
"""

UNNAMED = """
const nameless = [];
for (const element of document.querySelectorAll('button, a, input, [role=region], [role=img]')) {
  if (!element.checkVisibility()) continue;
  const label = element.ariaLabel || element.textContent.trim() || element.labels?.[0]?.textContent;
  if (!label) nameless.push(element.outerHTML.slice(0, 80));
}
return nameless;
"""
