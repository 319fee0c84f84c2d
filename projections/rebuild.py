"""Building read models again from the log, beside the live ones, and switching to them.

Readers and the runner go on meanwhile. The switch holds the runner's checkpoints still, brings the
copies to the very same position and puts them in place, all in one database transaction: before it
nothing has changed, after it everything has. What a crash leaves behind the next rebuild drops.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog
from psycopg import Connection, errors, sql

from connectors.postgres.connections import connect, connect_as_owner, url_of
from connectors.postgres.migrations import OWNER, check_migrated
from connectors.postgres.reading import read_head
from connectors.settings import Settings
from domain.errors import SettlerError
from projections import checkpoints, shadow
from projections.applying import OnStep, no_step
from projections.catalog import READ_MODELS, with_needed
from projections.feed import Applied, Feed
from projections.log import EVENTS_MAX
from projections.read_model import ReadModel

log = structlog.get_logger(__name__)

SUFFIX = "@rebuild"
#: Catching up while the runner goes on. More rounds only chase a log that grows as fast; the rest
#: is then folded while the runner is held.
ROUNDS_MAX = 10
SWITCH_ATTEMPTS = 40
SWITCH_PAUSE_SECONDS = 0.25

OnProgress = Callable[[int, int], None]


class RebuildRunning(SettlerError):
    """Another rebuild is under way; there is one schema to build in."""

    code = "projection.rebuild_running"

    def __init__(self) -> None:
        super().__init__("another rebuild of projections is under way; wait for it to end")


class SwitchBlocked(SettlerError):
    """Readers held the live tables all the time; nothing was changed."""

    code = "projection.switch_blocked"

    def __init__(self) -> None:
        super().__init__(
            f"the rebuilt tables could not be put in place in {SWITCH_ATTEMPTS} attempts, because "
            "a long transaction reads the live ones. End it (see pg_stat_activity), then run the "
            "rebuild again; nothing was changed"
        )


class Rebuilt(NamedTuple):
    """What was switched in, and the position it stands at."""

    names: list[str]
    position: int


class _Rebuild(NamedTuple):
    owner: Connection[Any]
    writer: Connection[Any]
    feed: Feed
    schema: str
    models: list[ReadModel]
    on_step: OnStep

    @property
    def names(self) -> list[str]:
        return [model.name for model in self.models]

    @property
    def shadow_names(self) -> list[str]:
        return [model.name + SUFFIX for model in self.models]

    @property
    def tables(self) -> list[str]:
        return [table for model in self.models for table in model.tables]


def rebuild(
    settings: Settings,
    names: Sequence[str] | None = None,
    *,
    on_progress: OnProgress = lambda _position, _head: None,
    on_step: OnStep = no_step,
) -> Rebuilt:
    """Build read models again from the start of the log and switch to them.

    Args:
        settings: Needs the owner's URL and that of the projections.
        names: Read models; those they need are built with them. None means all.
        on_progress: Told the position reached and the head of the log when it began.
        on_step: Told before each step, by name.

    Raises:
        UnknownReadModel: A name is none of ours.
        RebuildRunning: Another rebuild is under way.
        SwitchBlocked: A long transaction of a reader is in the way.
        psycopg.OperationalError: The database went away; nothing has changed, run it again.
    """
    models = list(READ_MODELS) if names is None else with_needed(names)
    projections_url = url_of(settings, "projections")
    with (
        connect_as_owner(settings.database_url) as owner,
        connect(projections_url, "projections", "settler-rebuild-read") as reader,
        connect(projections_url, "projections", "settler-rebuild") as writer,
    ):
        check_migrated(reader)
        owner.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
        if not shadow.try_lock(owner):
            raise RebuildRunning
        head = read_head(reader)

        def on_applied(applied: Applied) -> None:
            on_progress(applied.prepared.until, max(head, applied.prepared.until))

        with Feed(
            reader, writer, suffix=SUFFIX, notify=False, on_applied=on_applied, on_step=on_step
        ) as feed:
            state = _Rebuild(owner, writer, feed, shadow.live_schema(owner), models, on_step)
            log.info("rebuild.started", projections=state.names, head=head)
            _begin(state)
            position = _catch_up(state, head)
            on_step("analyze")
            shadow.analyze_copies(owner, state.tables)
            position = _switch(state, position)
    log.info("rebuild.ended", projections=state.names, position=position)
    return Rebuilt(state.names, position)


def _begin(state: _Rebuild) -> None:
    """Make empty copies at position 0, whatever an earlier attempt left."""
    every_table = [table for model in READ_MODELS for table in model.tables]
    with state.owner.transaction():
        state.on_step("create")
        shadow.drop_copies(state.owner, every_table)
        shadow.create_copies(state.owner, state.schema, state.tables)
        checkpoints.delete(state.owner, [model.name + SUFFIX for model in READ_MODELS])
        checkpoints.read(state.owner, state.shadow_names)
    shadow.write_to_copies(state.writer, state.schema)


def _catch_up(state: _Rebuild, head: int) -> int:
    """Feed the copies until they are near the live tables, which move on meanwhile."""
    position = state.feed.catch_up(state.models, 0, head)
    for _ in range(ROUNDS_MAX):
        live = max(checkpoints.read(state.owner, state.names).values())
        if live - position < EVENTS_MAX:
            break
        position = state.feed.catch_up(state.models, position, live)
    return position


def _switch(state: _Rebuild, position: int) -> int:
    pause = threading.Event()
    for _ in range(SWITCH_ATTEMPTS):
        try:
            with state.owner.transaction():
                state.on_step("hold")
                live = checkpoints.lock(state.owner, state.names)
                position = state.feed.catch_up(
                    state.models, position, max(position, *live.values())
                )
                state.on_step("switch")
                shadow.switch_in(state.owner, state.schema, state.tables)
                for name, stands_at in live.items():
                    if stands_at != position:
                        checkpoints.move(state.owner, [name], stands_at, position)
                checkpoints.delete(state.owner, state.shadow_names)
                state.on_step("commit_switch")
        except errors.LockNotAvailable:
            log.info("rebuild.waiting", reason="a reader holds a live table")
            pause.wait(SWITCH_PAUSE_SECONDS)
        else:
            state.on_step("switched")
            return position
    raise SwitchBlocked
