"""Settler's HTTP API as a client uses it, with the standard library alone."""

import json
import urllib.error
import urllib.request
from typing import Any

from domain.errors import SettlerError

TIMEOUT_SECONDS = 15.0


class ApiUnavailable(SettlerError):
    """The API did not answer, or not as expected."""

    code = "demo.api_unavailable"


class ApiClient:
    """Requests with one tenant's key.

    Args:
        url: Of the server, such as `http://127.0.0.1:8080`.
        key: The API key; None for what needs none.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str) -> Any:
        """GET a path and decode the answer.

        Raises:
            ApiUnavailable: No answer, or one that is not 2xx.
        """
        return self._ask("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        """POST a JSON document and decode the answer; raises as `get`."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own server on 127.0.0.1
            self._url + path, data=body, headers=self._headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            said = exc.read().decode(errors="replace")
            raise ApiUnavailable(f"{method} {path} was answered {exc.code}: {said}") from exc
        except (OSError, ValueError) as exc:
            raise ApiUnavailable(f"{method} {path}: {exc}") from exc
