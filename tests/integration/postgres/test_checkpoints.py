"""Resetting offsets, and checkpoints that move together with their rows."""

import pytest

from connectors.postgres.checkpoints import (
    SourceCheckpoint,
    advance_projection_checkpoint,
    load_source_checkpoints,
    read_projection_checkpoint,
    reset_offsets,
    save_source_checkpoints,
)
from connectors.postgres.errors import CheckpointMoved, Fenced
from connectors.postgres.verification import list_resets
from connectors.postgres.writing import commit_flush
from domain.verification.letters import TopicReset
from tests.integration.postgres.commits import claim, commit_of, letter

SOURCE, TARGET = "settler.transactions.source", "settler.transactions.target"


def test_after_a_reset_the_new_topic_is_read_from_its_start(flow, connect_as):
    held = claim(flow)
    offsets = {f"{SOURCE}/0": 9, f"{SOURCE}/1": 8, f"{TARGET}/0": 7}
    commit_flush(flow, [commit_of(0, 1, held.fence, next_offset=offsets)], [letter(3)])
    save_source_checkpoints(
        flow, [SourceCheckpoint(topic, 0, 9, "c", "old") for topic in (SOURCE, TARGET)]
    )
    assert reset_offsets(connect_as("operator"), [SOURCE]) == (1, 1, 1)

    assert load_source_checkpoints(flow, SOURCE, "c", "new") == {}
    assert load_source_checkpoints(flow, TARGET, "c", "old") == {0: 9}
    with pytest.raises(Fenced):  # a flow that still ran would bring the old offsets back
        commit_flush(flow, [commit_of(1, 1, held.fence)], [])
    assert claim(flow).next_offset == {f"{TARGET}/0": 7}

    commit_flush(flow, [], [letter(3)])  # the new topic's record of the same offset
    topics = [row[0] for row in flow.execute("SELECT topic FROM dead_letter_queue ORDER BY 1")]
    assert topics[0] == SOURCE
    assert topics[1].startswith(f"{SOURCE}@")
    assert len(topics) == 2
    # The log up to here speaks of the topic as it was.
    assert list_resets(connect_as("operator")) == [TopicReset(SOURCE, topics[1], 1)]


def test_a_projection_has_one_runner(connect_as):
    conn, other = connect_as("projections"), connect_as("projections")
    assert read_projection_checkpoint(conn, "matches") == 0
    with pytest.raises(CheckpointMoved, match="found none"):
        advance_projection_checkpoint(conn, "matches", 5, 9)
    advance_projection_checkpoint(conn, "matches", 0, 5)
    advance_projection_checkpoint(other, "matches", 5, 9)
    with pytest.raises(CheckpointMoved, match="expected its checkpoint at 5 and found 9"):
        advance_projection_checkpoint(conn, "matches", 5, 8)
    with pytest.raises(CheckpointMoved):
        advance_projection_checkpoint(conn, "matches", 0, 8)
    assert read_projection_checkpoint(conn, "matches") == 9


def test_a_checkpoint_moves_with_its_rows_or_not_at_all(connect_as):
    conn = connect_as("projections")
    with conn.transaction(force_rollback=True):
        advance_projection_checkpoint(conn, "matches", 0, 5)
    assert read_projection_checkpoint(conn, "matches") == 0
