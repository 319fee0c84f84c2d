"""Where frozen blocks are written and read."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from connectors.postgres.store import Store
from domain.freezing.frozen import NewBlock


class Blocks:
    """The blocks of a worker's windows.

    Args:
        store: The worker's own.
        written_through: A store for a thread that writes, while the windows go on. What it has in
            hand is one freeze's blocks, and whoever wants to read any waits for that. Without it
            they are written at once.
    """

    def __init__(self, store: Store, written_through: Store | None = None) -> None:
        self._store = store
        self._written_through = written_through
        self._thread = ThreadPoolExecutor(1, "blocks") if written_through else None
        self._writing: Future[None] | None = None

    def write_blocks(self, stream_id: str, blocks: Sequence[NewBlock]) -> None:
        """See `Store.write_blocks`; may return before they are written.

        Raises:
            Exception: Those before could not be written.
        """
        if self._thread is None or self._written_through is None:
            self._store.write_blocks(stream_id, blocks)
            return
        self.wait_until_written()
        write = self._written_through.write_blocks
        self._writing = self._thread.submit(write, stream_id, blocks)

    @property
    def are_being_written(self) -> bool:
        """Whether `wait_until_written` would wait."""
        return self._writing is not None and not self._writing.done()

    def wait_until_written(self) -> None:
        """Wait for what is being written: before it is read, and before a snapshot names it.

        Raises:
            Exception: It could not be written.
        """
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def read_fingerprints(self, stream_id: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """See `Store.read_fingerprints`."""
        self.wait_until_written()
        return self._store.read_fingerprints(stream_id, numbers)

    def read_pages(
        self, stream_id: str, places: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        """See `Store.read_pages`."""
        self.wait_until_written()
        return self._store.read_pages(stream_id, places)
