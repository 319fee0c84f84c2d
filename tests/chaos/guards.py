"""Taking out one guard at a time, in this process and without touching a file."""

import time
from collections.abc import Callable

import pytest

from connectors.kafka import TopicPart
from connectors.postgres import lease, store_writer, writing
from connectors.postgres.store_memory import MemoryStore
from flows import snapshotting, windows
from flows.clock import DatabaseClock, WatchForStepsBack
from flows.progress import Progress
from flows.storing import Writer

Remove = Callable[[pytest.MonkeyPatch], None]


class Forgetful(dict):
    """Takes in how far a stream has read and knows nothing of it."""

    def get(self, _key: object, default: object = None) -> object:
        return default


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """The store asks for the version alone, in Postgres and in memory."""
    _without(patch, b"AND streams.fence = asked.fence")
    patch.setattr(
        MemoryStore,
        "_holds",
        lambda store, step: store.streams[step.stream_id].version == step.base_version,
    )


def no_fence_at_lookup(patch: pytest.MonkeyPatch) -> None:
    """A commit whose answer was lost is looked up by its version alone."""

    def by_version(conn, steps):
        stored = conn.execute("SELECT max(version) FROM streams").fetchone()[0]
        return "committed" if stored == steps[0].new_version else "not_committed"

    patch.setattr(store_writer, "steps_outcome", by_version)


def no_version_check(patch: pytest.MonkeyPatch) -> None:
    """The store asks for the fence alone."""
    _without(patch, b"AND streams.version = asked.base_version")
    patch.setattr(
        MemoryStore,
        "_holds",
        lambda store, step: store.streams[step.stream_id].fence == step.fence,
    )


def no_offset_filter(patch: pytest.MonkeyPatch) -> None:
    """A stream takes in what it has taken in before."""
    hold = windows.MatchWindow._hold

    def forgetting(window, **options):
        state = hold(window, **options)
        window._next_offset = Forgetful()
        return state

    patch.setattr(windows.MatchWindow, "_hold", forgetting)


def checkpoint_before_commit(patch: pytest.MonkeyPatch) -> None:
    """Offsets are saved at once, not behind the decisions they speak of."""
    patch.setattr(
        Writer, "save_offset", lambda writer, checkpoint: writer._store.save_offsets([checkpoint])
    )


def no_lease(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the lease has it."""
    patch.setattr(lease, "acquire", lambda *_: True)


def no_word_of_a_lost_lease(patch: pytest.MonkeyPatch) -> None:
    """Whoever renews the lease is told that it is still theirs."""
    patch.setattr(lease, "renew", lambda *_: True)


def no_hold_while_behind(patch: pytest.MonkeyPatch) -> None:
    """The flow believes that it has caught up."""
    patch.setattr(Progress, "caught_up", lambda _: True)
    patch.setattr(Progress, "behind_us", lambda _: 0)


def the_machine_s_own_clock(patch: pytest.MonkeyPatch) -> None:
    """A flow decides by the clock of the machine it runs on."""
    patch.setattr(DatabaseClock, "now_us", lambda _: time.time_ns() // 1000)


def no_watch_for_steps_back(patch: pytest.MonkeyPatch) -> None:
    """A flow goes on when its machine's clock goes back."""
    patch.setattr(WatchForStepsBack, "look", lambda _: False)


def offsets_told_at_close(patch: pytest.MonkeyPatch) -> None:
    """A part that is closed says how far it has read, also where the dataflow breaks down."""

    def close(part):
        part._tell(part._next_offset)
        part._consumer.close()

    patch.setattr(TopicPart, "close", close)


def snapshots_all_the_time(patch: pytest.MonkeyPatch) -> None:
    """No guard: a flow that recovers from snapshots after a hundred records, not after 200,000."""
    patch.setattr(snapshotting, "_AFTER_MIN", 100)
    patch.setattr(snapshotting, "_AFTER_SIZES", 0)


def _without(patch: pytest.MonkeyPatch, condition: bytes) -> None:
    query = writing._SQL["advance_streams"]
    assert query.count(condition) == 1, "the guard is where it was"
    patch.setitem(writing._SQL, "advance_streams", query.replace(condition, b""))
