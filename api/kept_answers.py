"""Whole answers kept in memory, then in Redis, for as long as nothing that is in them has moved.

A kept answer belongs to one tenant, one path and query string, and one version of the tenant's read
models: what the projections have told this process it stands at. It is looked for under the version
known when the request came in and kept under the version known before the database was read, so it
is never older than what this process had been told. While the feed is lost nothing is known, and
nothing is kept or given. Redis shares answers between processes; without it each keeps its own.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prometheus_client import Counter
from starlette.responses import Response
from starlette.types import Scope

from api.caching import TTL_SECONDS, AnswerCache
from api.once_at_a_time import OnceAtATime

BYTES_MAX = 64 * 1024 * 1024
# A page is some forty kilobytes.
ANSWER_BYTES_MAX = 512 * 1024
# Some hundred bytes each; beyond, all are noted anew.
_ASKED_MAX = 10_000

HITS = Counter("settler_api_kept_answers_total", "Answers given from memory, or not.", ["result"])
_HIT, _MISS = HITS.labels("hit"), HITS.labels("miss")

Name = tuple[str, str]
RawHeaders = list[tuple[bytes, bytes]]


def make_etag(body: bytes) -> str:
    """Make the weak validator of a body: the same bytes mean that nothing has changed."""
    return f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def kept_name(scope: Scope) -> str:
    """Name what is asked for: path and query string as they came, so no two have one name."""
    target: bytes = scope["raw_path"] + b"?" + scope["query_string"]
    return target.decode("latin-1")


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A rendered answer.

    Attributes:
        version: Of the read models, known before they were read.
        until: Monotonic seconds; a backstop only.
        validators: The headers of an answer that has not changed.
        head: The headers of one that has.
    """

    body: bytes
    etag: str
    version: str
    until: float
    validators: RawHeaders = field(init=False)
    head: RawHeaders = field(init=False)

    def __post_init__(self) -> None:
        validators = [
            (b"etag", self.etag.encode()),
            (b"cache-control", b"private, no-cache"),
            (b"vary", b"Authorization"),
        ]
        content = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.body)),
        ]
        object.__setattr__(self, "validators", validators)
        object.__setattr__(self, "head", validators + content)


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands behind a path and query string that has been answered before.

    Attributes:
        route: The operation's path template, for metrics and log lines.
        scope: What a credential must be allowed.
        reconciliation_id: Whose movement ends the answer; None: the tenant's.
    """

    route: str
    scope: str
    reconciliation_id: str | None


class KeptAnswers:
    """Answers by tenant and name.

    Args:
        shared: What the processes of the API have in common.
        bytes_max: Bodies in memory; the ones that were not asked for longest go first.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        shared: AnswerCache,
        bytes_max: int = BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._bytes_max = bytes_max
        self._clock = clock
        self._kept: OrderedDict[Name, KeptAnswer] = OrderedDict()
        self._bytes = 0
        self._asked: dict[str, Asked] = {}
        self._reading: OnceAtATime[tuple[Name, str]] = OnceAtATime()

    def note(self, name: str, asked: Asked) -> None:
        """Remember what stands behind a name, which is the same for every tenant."""
        if len(self._asked) >= _ASKED_MAX:
            self._asked.clear()
        self._asked[name] = asked

    def asked(self, name: str) -> Asked | None:
        """Tell what stands behind a name; None: nobody has been answered under it."""
        return self._asked.get(name)

    def recall(self, tenant_id: str, name: str, version: str) -> KeptAnswer | None:
        """Give the answer of this version from memory."""
        kept = self._kept.get((tenant_id, name))
        if kept is None or kept.version != version or kept.until <= self._clock():
            return None
        self._kept.move_to_end((tenant_id, name))
        _HIT.inc()
        return kept

    async def read(
        self, tenant_id: str, name: str, version: str, render: Callable[[], Awaitable[bytes]]
    ) -> KeptAnswer:
        """Give the answer from memory, from Redis or rendered now, once for all who ask for it.

        Args:
            tenant_id: Of the credential. Nothing kept for another one is ever looked at.
            name: Path and query string as they were sent.
            version: As the feed knew it before this call.
            render: Reads the database.
        """
        kept = self.recall(tenant_id, name, version)
        if kept is not None:
            return kept
        key = (tenant_id, name), version
        if await self._reading.wait(key):
            kept = self.recall(tenant_id, name, version)
            if kept is not None:
                return kept
        _MISS.inc()
        found: list[KeptAnswer] = []

        async def work() -> None:
            body = await self._shared.get(tenant_id, name, version)
            if body is None:
                body = await render()
                found.append(self._keep(tenant_id, name, version, body))
                await self._shared.put(tenant_id, name, version, body)
            else:
                found.append(self._keep(tenant_id, name, version, body))

        await self._reading.run(key, work)
        return found[0]

    def _keep(self, tenant_id: str, name: str, version: str, body: bytes) -> KeptAnswer:
        kept = KeptAnswer(body, make_etag(body), version, self._clock() + TTL_SECONDS)
        if len(body) > ANSWER_BYTES_MAX:
            return kept
        before = self._kept.pop((tenant_id, name), None)
        if before is not None:
            self._bytes -= len(before.body)
        self._kept[tenant_id, name] = kept
        self._bytes += len(body)
        while self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body)
        return kept


class KeptResponse(Response):
    """A kept answer, its headers made once more only as far as they are its own."""

    def __init__(self, kept: KeptAnswer, *, is_known: bool) -> None:
        self.status_code = 304 if is_known else 200
        self.body = b"" if is_known else kept.body
        self.background = None
        self.raw_headers = list(kept.validators if is_known else kept.head)
