"""Waiting until what was decided can be read: a caller sees what he was told had become of it."""

import asyncio
import time

from api.feed import Moved
from api.operations import Call
from projections.catalog import READ_MODELS

_LOOK_AGAIN_SECONDS = 0.05
_NAMES = [model.name for model in READ_MODELS]


async def wait_until_readable(call: Call, reconciliation_id: str, deadline: float) -> None:
    """Look until every read model holds what a reconciliation's stream holds now.

    What is committed by a decision is in the stream when its command is seen decided. Kept answers
    from before it are given no more by this process.

    Args:
        deadline: Monotonic seconds at which the caller's patience ends; nothing is said then.
    """
    if time.monotonic() >= deadline:
        return
    stream = {
        "tenant_id": call.tenant_id,
        "stream_id": f"{call.tenant_id}/{reconciliation_id}",
    }
    async with call.services.database.tenant(call.tenant_id) as session:
        written = await session.row("read_written", stream)
    if written is None:
        return
    while time.monotonic() < deadline:
        async with call.services.database.tenant(call.tenant_id) as session:
            row = await session.row("read_readable", {"names": _NAMES})
        if row is not None and row["position"] >= written["position"]:
            moved = Moved(call.tenant_id, reconciliation_id, written["position"])
            call.services.feed.seen(moved)
            return
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
