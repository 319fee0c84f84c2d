"""A headless Chromium, driven over the WebDriver protocol (W3C) that chromedriver speaks."""

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "headless_shell")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
]  # fmt: skip
TRY_SECONDS = 0.05


def find_programs() -> tuple[str, str] | None:
    """Paths of a Chromium and its driver, or None where there is none."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Browser:
    """One browser with an empty profile."""

    def __init__(self, profile: Path, *, dark: bool = False) -> None:
        programs = find_programs()
        assert programs, "no Chromium with its chromedriver on this machine"
        browser, driver = programs
        port = _free_port()
        self._driver = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False
        )
        flags = [*FLAGS, f"--user-data-dir={profile}"]
        if dark:
            flags.append("--blink-settings=preferredColorScheme=0")
        options = {"binary": browser, "args": flags}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            self._wait_for_driver()
            body = {"capabilities": {"alwaysMatch": capabilities}}
            self._session = f"/session/{self._ask('POST', '/session', body)['sessionId']}"
        except BaseException:
            self._end_driver()
            raise

    def _wait_for_driver(self) -> None:
        deadline = time.monotonic() + 15
        while True:
            try:
                if self._client.get("/status").json()["value"]["ready"]:
                    return
            except httpx.TransportError:
                assert time.monotonic() < deadline, "chromedriver did not start"
                self._pause()

    @staticmethod
    def _pause() -> None:
        # A wait for nothing: what is waited for happens in another process that sends no word.
        socket_pair = socket.socketpair()
        socket_pair[0].settimeout(TRY_SECONDS)
        try:
            socket_pair[0].recv(1)
        except TimeoutError:
            pass
        finally:
            for end in socket_pair:
                end.close()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._client.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            self._ask("DELETE", self._session)
        finally:
            self._end_driver()

    def _end_driver(self) -> None:
        self._client.close()
        self._driver.terminate()
        self._driver.wait(10)

    def open(self, url: str) -> None:
        """Go to a page."""
        self._ask("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and give what it returns."""
        body = {"script": script, "args": list(arguments)}
        return self._ask("POST", f"{self._session}/execute/sync", body)

    def resize(self, width: int, height: int) -> None:
        """Give the page a size, in CSS pixels; below the window's least width too."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        body = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._ask("POST", f"{self._session}/goog/cdp/execute", body)

    def find(self, selector: str) -> str:
        """The id of the first element of a selector, for `click` and `type`."""
        body = {"using": "css selector", "value": selector}
        return self._ask("POST", f"{self._session}/element", body)[ELEMENT]

    def click(self, selector: str) -> None:
        """Click as a person does: the element must be visible."""
        self._ask("POST", f"{self._session}/element/{self.find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        body = {"text": text}
        self._ask("POST", f"{self._session}/element/{self.find(selector)}/value", body)

    def text(self, selector: str) -> str:
        """The text of the first element of a selector as it is rendered; empty when hidden."""
        return self._ask("GET", f"{self._session}/element/{self.find(selector)}/text")

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements of a selector."""
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
        )

    def cookies(self) -> list[dict[str, Any]]:
        """Every cookie of the page."""
        return self._ask("GET", f"{self._session}/cookie")

    def console(self) -> list[dict[str, Any]]:
        """What the console has said since it was last asked."""
        return self._ask("POST", f"{self._session}/se/log", {"type": "browser"})

    def screenshot(self, file: Path) -> None:
        """Keep what is to be seen."""
        encoded = self._ask("GET", f"{self._session}/screenshot")
        file.write_bytes(base64.b64decode(encoded))

    def wait(self, what: Callable[[], Any], seconds: float = 10) -> Any:
        """Ask until there is a true answer, and give it."""
        deadline = time.monotonic() + seconds
        while True:
            answer = what()
            if answer:
                return answer
            assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
            self._pause()
