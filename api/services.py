"""What handlers have at hand; made by the application's lifespan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.caching import AnswerCache
    from api.database import Database
    from api.feed import Feed
    from api.identity import Authenticator


@dataclass(slots=True)
class Services:
    """The application's parts that live as long as it does."""

    database: Database
    cache: AnswerCache
    feed: Feed
    authenticator: Authenticator
    streams_open: int = 0
