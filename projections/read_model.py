"""What a read model is: tables, and how batches of the log change them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from projections.log import LogBatch

Fold = Callable[[Sequence[LogBatch]], Any]
Write = Callable[[Connection[Any], Any, Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class ReadModel:
    """One projection.

    Attributes:
        name: Name of its checkpoint and of `settler projections rebuild NAME`.
        tables: The tables it alone writes.
        needs: Read models whose rows or answers it uses. They are written before it, in the same
            database transaction, and must stand at the same position.
        fold: Pure; turns decoded batches into what is to be written. Runs ahead of the writing.
        write: Writes a fold, given the answers of the models it needs by name; its own return
            value is such an answer. It must leave the fold as it is.
    """

    name: str
    tables: tuple[str, ...]
    needs: tuple[str, ...]
    fold: Fold
    write: Write
