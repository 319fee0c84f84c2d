"""How far sources are committed and projections have read."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection

from connectors.postgres.errors import CheckpointMoved, TopicReplaced
from connectors.postgres.queries import load_queries

_SQL = load_queries("checkpoints")


class SourceCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """The next offset to read of one partition, and which incarnation of the topic it counts."""

    topic: str
    partition: int
    next_offset: int
    cluster_id: str
    topic_id: str


class OffsetsReset(NamedTuple):
    """What a reset of offsets touched."""

    partitions: int
    streams: int
    dead_letters: int


def load_source_checkpoints(
    conn: Connection[Any], topic: str, cluster_id: str, topic_id: str
) -> dict[int, int]:
    """Give partition → next offset of a topic; a partition never saved is absent.

    Raises:
        TopicReplaced: The offsets were taken from another cluster or another topic of that name.
    """
    offsets = {}
    for partition, next_offset, *incarnation in conn.execute(
        _SQL["read_sources"], {"topic": topic}
    ):
        if incarnation != [cluster_id, topic_id]:
            raise TopicReplaced(topic, (incarnation[0], incarnation[1]), (cluster_id, topic_id))
        offsets[partition] = next_offset
    return offsets


def save_source_checkpoints(conn: Connection[Any], checkpoints: Iterable[SourceCheckpoint]) -> None:
    """Save offsets up to which everything is committed; an older offset changes nothing.

    Raises:
        TopicReplaced: The topic was replaced since; nothing was saved.
    """
    with conn.transaction():
        for checkpoint in sorted(checkpoints, key=lambda c: (c.topic, c.partition)):
            saved = conn.execute(_SQL["save_source"], msgspec.structs.asdict(checkpoint))
            if not saved.rowcount:
                load_source_checkpoints(
                    conn, checkpoint.topic, checkpoint.cluster_id, checkpoint.topic_id
                )


def reset_offsets(conn: Connection[Any], topics: list[str]) -> OffsetsReset:
    """Forget the offsets of topics, so that the flow reads them from their start.

    Streams forget them too, or they would drop the new topic's records as already seen; dead
    letters of the old topics stay, under the topic's name with the time of the reset.

    Args:
        conn: A connection of role settler_operator; no flow may be running.
        topics: Full names, such as `settler.transactions.source`.
    """
    asked = {"topics": topics}
    with conn.transaction():
        partitions = conn.execute(_SQL["forget_sources"], asked).rowcount
        streams = conn.execute(_SQL["forget_stream_offsets"], asked).rowcount
        conn.execute(_SQL["note_resets"], asked)
        letters = conn.execute(_SQL["set_letters_aside"], asked).rowcount
    return OffsetsReset(partitions, streams, letters)


def read_projection_checkpoint(conn: Connection[Any], name: str) -> int:
    """Return the last position a projection has folded; 0 before its first."""
    row = conn.execute(_SQL["read_projection"], {"name": name}).fetchone()
    return int(row[0]) if row else 0


def advance_projection_checkpoint(
    conn: Connection[Any], name: str, expected: int, position: int
) -> None:
    """Move a projection's checkpoint, in the transaction that wrote its rows.

    Raises:
        CheckpointMoved: It is not where it is expected; roll the rows back.
    """
    asked = {"name": name, "expected": expected, "position": position}
    if not conn.execute(_SQL["advance_projection"], asked).rowcount:
        row = conn.execute(_SQL["read_projection"], asked).fetchone()
        raise CheckpointMoved(name, expected, row[0] if row else None)
