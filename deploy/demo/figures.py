"""How far a demo has come, and what came out, read from the read models."""

from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec

from connectors.postgres.queries import parse_queries
from connectors.synthetic.facts import Facts
from projections.catalog import READ_MODELS

if TYPE_CHECKING:
    from psycopg import Connection

_QUERIES = parse_queries(resources.files("deploy.demo").joinpath("figures.sql").read_text("utf-8"))


class Figures(msgspec.Struct, frozen=True):
    """The demo at one moment, all reconciliations together.

    Attributes:
        consumed: Messages below the saved offsets: everything of them is committed.
        lag_events: Committed events that the read models do not show yet.
    """

    consumed: int
    lag_events: int
    accepted: int
    pending: int
    matched: int
    exceptions: int
    rejected: int

    def decided(self, sent: int) -> bool:
        """Whether everything sent has been taken in, decided, and is shown."""
        return self.consumed >= sent and not self.lag_events and not self.pending


def read_figures(connection: "Connection[Any]") -> Figures:
    """Read where things stand."""
    asked = {"read_models": [model.name for model in READ_MODELS]}
    row = connection.execute(_QUERIES["figures"], asked).fetchone()
    assert row is not None, "aggregates have one row"
    return Figures(*map(int, row))


class Line(msgspec.Struct, frozen=True):
    """What one reconciliation came to, as the API tells it, beside what it should have come to.

    The figures are accepted transactions, confirmed matches, open suggestions, open exceptions.
    """

    reconciliation: str
    found: tuple[int, int, int, int]
    expected: tuple[int, int, int, int]


def make_line(stream_id: str, summary: dict[str, Any], truth: Facts) -> Line:
    """Make the line of a reconciliation.

    Args:
        summary: What the API answered.
        truth: The generated facts of this stream.
    """
    found = (
        summary["transactions"]["accepted"],
        summary["matches_confirmed"],
        summary["suggestions_open"],
        summary["exceptions_open"],
    )
    statuses = [fact.status for fact in truth.matches]
    expected = (
        sum(count for count, _ in truth.accepted.values()),
        statuses.count("confirmed"),
        statuses.count("suggested"),
        len(truth.exceptions),
    )
    return Line(stream_id, found, expected)
