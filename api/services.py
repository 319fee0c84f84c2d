"""What handlers have at hand; made by the application's lifespan."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.access_tokens import AccessTokens
    from api.caching import AnswerCache
    from api.database import Database
    from api.feed import Feed
    from api.idempotency import IdempotentAnswers
    from api.identity import Authenticator
    from api.kept_answers import KeptAnswers
    from api.live import Live
    from api.mailing import Outbox
    from api.password_hashing import PasswordHashing
    from api.rate_limits import RateLimits
    from api.redis_circuit import RedisCircuit
    from connectors.settings import Settings


@dataclass(slots=True)
class Services:
    """The application's parts that live as long as it does."""

    database: Database
    cache: AnswerCache
    answers: KeptAnswers
    feed: Feed
    live: Live
    authenticator: Authenticator
    tokens: AccessTokens
    hashing: PasswordHashing
    outbox: Outbox
    redis: RedisCircuit
    rate_limits: RateLimits
    idempotency: IdempotentAnswers
    settings: Settings
    # Held by the one question about the past that is being answered.
    past_turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    #: Live streams that are open, by tenant; a tenant without one is not in it.
    streams_open: Counter[str] = field(default_factory=Counter)
