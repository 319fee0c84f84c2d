"""What can go wrong between us and the store, as errors a person can act on."""

from domain.errors import SettlerError


class StoreError(SettlerError):
    """Base of every failure of the store."""

    code = "store.error"


class Fenced(StoreError):
    """Another writer owns the stream now; this process is behind and must stop."""

    code = "store.fenced"

    def __init__(self, stream_ids: list[str]) -> None:
        self.stream_ids = stream_ids
        shown = ", ".join(stream_ids[:5]) + (", …" if len(stream_ids) > 5 else "")
        super().__init__(
            f"another flow has taken over {shown}: its version or fence in the table streams is "
            "not the one this process held. Nothing of this flush was stored; stop this process."
        )


class BlocksMissing(StoreError):
    """Part of a stream's state is neither in memory nor in the store."""

    code = "store.blocks_missing"

    def __init__(self, stream_id: str) -> None:
        super().__init__(
            f"the store lacks a block of state that {stream_id} has frozen. Another flow has taken "
            "the stream over, or rows of frozen_blocks or frozen_pages were deleted by hand: in "
            "that case delete the stream's rows of snapshots, and it is folded from its events."
        )


class SnapshotDamaged(StoreError):
    """What is stored as a snapshot is not what was written."""

    code = "store.snapshot_damaged"

    def __init__(self, stream_id: str, version: int, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"the snapshot of {stream_id} at version {version} is damaged ({problem}). Find out "
            "what damaged the table snapshots. Unless journal_expiries names that version, its row "
            "can go: the stream is folded from the snapshot before, or from its events."
        )


class NotReady(StoreError):
    """The database cannot be used yet; waiting may help."""

    code = "store.not_ready"


class RoleUnavailable(NotReady):
    """The login user may not act as the role it needs."""

    code = "store.role_unavailable"

    def __init__(self, role: str, user: str, reason: str) -> None:
        super().__init__(
            f"user {user} cannot act as role {role} ({reason}). Run `settler migrate`, which "
            f"makes the roles; for a separate login user run: GRANT {role} TO {user};"
        )


class SchemaBehind(NotReady):
    """The database lacks migrations this release needs."""

    code = "store.schema_behind"

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"the database lacks {len(missing)} migration(s), the first is {missing[0]}; "
            "run `settler migrate`"
        )


class CheckpointMoved(StoreError):
    """Another process moved a projection's checkpoint first."""

    code = "store.checkpoint_moved"

    def __init__(self, name: str, expected: int, found: int | None) -> None:
        super().__init__(
            f"projection {name} expected its checkpoint at {expected} and found "
            f"{'none' if found is None else found}: another process runs it, stop one of the two"
        )


class TopicReplaced(StoreError):
    """A topic is not the one its stored offsets belong to."""

    code = "store.topic_replaced"

    def __init__(self, topic: str, stored: tuple[str, str], found: tuple[str, str]) -> None:
        self.topic = topic
        super().__init__(
            f"topic {topic} is not the one the stored offsets belong to: they were taken from "
            f"cluster {stored[0]}, topic id {stored[1]}; this is cluster {found[0]}, topic id "
            f"{found[1]}. Records of the old topic that were never read are lost with it. To read "
            f"the new one from its start, stop the flow and run "
            f"`settler flow reset-offsets --topic {topic}`"
        )
