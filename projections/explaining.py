"""Reading what explanations are made of: read models for where to look, the log for what was.

Each function is a generator that yields queries by name with their parameters and is sent the rows,
so that the API, which waits for them, and the command line, which blocks, share every step.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec
from psycopg import Connection
from psycopg.rows import dict_row

from connectors.postgres.journal import decode_journal
from domain.definition_parsing import parse_definition
from domain.event_batches import decode_events
from domain.events import (
    ExceptionReclassified,
    ExceptionResolved,
    MatchConfirmed,
    MatchSuggested,
    RecordUnmatched,
)
from domain.explaining.casework import CaseStory
from domain.explaining.evidence import Scene
from domain.explaining.exceptions import ExceptionTold, explain_exception
from domain.explaining.matches import Made, MatchTold, Told, explain_match
from domain.explaining.members import Contents, Place, places_of
from domain.explaining.search import ContentSearch, ReadBatch, StorySearch, mentions
from domain.explaining.shown import (
    ExceptionExplanation,
    MatchExplanation,
    TransactionExplanation,
)
from domain.explaining.standing import Standing, concerns
from domain.explaining.transactions import Accepted, Outlook, explain_transaction
from domain.identity import casework_stream_id, exception_id, stream_id
from domain.instants import instant_text
from domain.transactions import SIDE_NAMES, Transaction, unpack_transaction
from projections.queries import load_queries

Row = dict[str, Any]
Query = tuple[str, dict[str, Any]]
Found = TypeVar("Found")
Steps = Generator[Query, list[Row], Found]

QUERIES: Final[Mapping[str, bytes]] = load_queries("explaining")

# What says why an exception is one.
_Classifying = RecordUnmatched | ExceptionReclassified
_EVERYTHING = 2**62
# Journals read at a time; one may have some hundred kilobytes.
_PAGE = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def follow(connection: Connection[Any], steps: Steps[Found]) -> Found:
    """Answer what an explanation asks until it is there."""
    rows: list[Row] | None = None
    with connection.cursor(binary=True, row_factory=dict_row) as cursor:
        while True:
            try:
                name, parameters = next(steps) if rows is None else steps.send(rows)
            except StopIteration as done:
                return cast("Found", done.value)
            rows = cursor.execute(QUERIES[name], parameters).fetchall()


class Reach:
    """How much of the log may still be read.

    Attributes:
        spent: Bytes read so far.
        is_exhausted: Something was left unread for it.

    Args:
        bytes_max: Of journals and events as they are stored; None reads on to the beginning.
    """

    def __init__(self, bytes_max: int | None) -> None:
        self._bytes_max = bytes_max
        self.spent = 0
        self.is_exhausted = False

    def spend(self, rows: list[Row]) -> None:
        """Count what was read."""
        self.spent += sum(row["read_bytes"] for row in rows)
        self.is_exhausted = self._bytes_max is not None and self.spent > self._bytes_max


class Stream(NamedTuple):
    """A reconciliation's stream, and how far back it is read."""

    tenant_id: str
    reconciliation_id: str
    reach: Reach

    @property
    def parameters(self) -> dict[str, Any]:
        """What every query of it needs."""
        return {
            "tenant_id": self.tenant_id,
            "reconciliation_id": self.reconciliation_id,
            "stream_id": stream_id(self.tenant_id, self.reconciliation_id),
            "limit": _PAGE,
        }

    def unpack(self, packed: bytes) -> Transaction:
        """A transaction of this reconciliation."""
        return unpack_transaction(packed, self.tenant_id, self.reconciliation_id)


class FoundStory(NamedTuple):
    """What the log tells of one transaction.

    Attributes:
        standing: With every event of `story` folded.
        accepted: What was accepted under its id and stood, oldest first; the last is what stands.
            Empty where journals have expired or lie beyond reach.
        story: The events that concern it, oldest first.
        is_whole: It was followed to its first acceptance, or else to the beginning of the log.
    """

    standing: Standing
    accepted: Sequence[Accepted]
    story: Sequence[Told]
    is_whole: bool


def match_explanation(
    tenant_id: str, match_id: str, reach: Reach
) -> Steps[MatchExplanation | None]:
    """Explain a match or suggestion of a tenant; None where there is none."""
    rows = yield "explained_match", {"tenant_id": tenant_id, "match_id": match_id}
    if not rows:
        return None
    row = rows[0]
    stream = Stream(tenant_id, row["reconciliation_id"], reach)
    made = yield from _event_at(stream, row["position"])
    ended = None
    if row["updated_position"] is not None:
        ended = yield from _event_at(stream, row["updated_position"])
    return (yield from _explain_match(stream, row["match_id"], made, ended))


def _explain_match(
    stream: Stream, match_id: str, made: Told, ended: Told | None
) -> Steps[MatchExplanation]:
    event = made.event
    assert isinstance(event, Made), f"position {made.position} made no match"
    suggestion: MatchSuggested | None = None
    if isinstance(event, MatchConfirmed) and event.suggestion_id not in (None, match_id):
        asked = {"tenant_id": stream.tenant_id, "match_id": event.suggestion_id}
        rows = yield "explained_match", asked
        if rows:
            suggested = (yield from _event_at(stream, rows[0]["position"])).event
            # Its row is another's once the rule has matched the same members after all.
            suggestion = suggested if isinstance(suggested, MatchSuggested) else None
    scene, _ = yield from _scene(stream, made.position)
    places = places_of(event.source_ids, event.target_ids)
    contents = yield from _contents(stream, places, made.position)
    return explain_match(MatchTold(match_id, event, made, ended, suggestion), scene, contents)


def exception_explanation(
    tenant_id: str, named: str, reach: Reach
) -> Steps[ExceptionExplanation | None]:
    """Explain an exception of a tenant; None where there is none."""
    rows = yield "explained_exception", {"tenant_id": tenant_id, "exception_id": named}
    if not rows:
        return None
    row = rows[0]
    stream = Stream(tenant_id, row["reconciliation_id"], reach)
    place = SIDE_NAMES.index(row["side"]), row["transaction_id"]
    opened = yield from _event_at(stream, row["position"])
    casework = yield from _casework(stream, row["exception_id"], row["version"])
    # What people did before it opened this time is told beside what the matching did then.
    is_older = bool(casework) and casework[0].position < row["position"]
    matching = yield from _of_matching(stream, place, row, is_whole=is_older)
    events = {told.position: told for told in (opened, *matching, *casework)}
    history = [events[position] for position in sorted(events)]
    return (yield from _explain_exception(stream, row["exception_id"], history))


def _of_matching(stream: Stream, place: Place, row: Row, *, is_whole: bool) -> Steps[list[Told]]:
    """What the matching did with an exception, newest batch first.

    Args:
        row: Of the read model, beyond which nothing is told.
        is_whole: From when it opened first; else back to what classified it last.
    """
    begin, end = row["first_position"] if is_whole else row["position"], row["updated_position"]
    asked = stream.parameters | {
        "from_position": begin,
        "until_position": end,
        "quoted_id": _quoted(place),
        "before_version": _EVERYTHING,
    }
    found: list[Told] = []
    while is_whole or not any(isinstance(told.event, _Classifying) for told in found):
        rows = yield "mentions_before", asked
        if not rows:
            break
        stream.reach.spend(rows)
        found += [
            told
            for one in rows
            for told in _told(one)
            if begin <= told.position <= end
            and isinstance(told.event, _Classifying | ExceptionResolved)
            and concerns(told.event, place)
        ]
        asked["before_version"] = rows[-1]["base_version"]
    return found


def _casework(stream: Stream, named: str, until_version: int) -> Steps[list[Told]]:
    """What people did with an exception, oldest first."""
    asked = {
        "tenant_id": stream.tenant_id,
        "stream_id": casework_stream_id(stream.tenant_id, named),
        "until_version": until_version,
    }
    rows = yield "casework", asked
    return [told for row in rows for told in _told(row)]


def _explain_exception(
    stream: Stream, named: str, history: Sequence[Told]
) -> Steps[ExceptionExplanation]:
    """Explain an exception from its history, of matching and people, oldest first."""
    classified = next(one for one in reversed(history) if isinstance(one.event, _Classifying))
    opened = next(one for one in reversed(history) if isinstance(one.event, RecordUnmatched))
    event = classified.event
    assert isinstance(event, _Classifying)
    case = CaseStory()
    for told in history:
        case.fold(told)
    scene, version = yield from _scene(stream, classified.position)
    opening_scene, _ = yield from _scene(stream, opened.position)
    places = [(event.side, event.transaction_id)]
    places += [(one.side, one.transaction_id) for one in event.candidates]
    contents = yield from _contents(stream, places, classified.position)
    known = ExceptionTold(named, opened, classified, version, case)
    return explain_exception(known, scene, opening_scene, contents)


def transaction_explanation(
    stream: Stream, side: int, transaction_id: str
) -> Steps[TransactionExplanation | None]:
    """Explain where a transaction stands; None where none is found within reach."""
    (found,) = yield from find_stories(stream, transaction_id, (side,))
    if not found.accepted:
        return None
    standing, accepted, story, _ = found
    named = _exception_id(stream, standing.place)
    match = exception = None
    if standing.match is not None:
        match = yield from _explain_match(stream, *standing.match, None)
    suggestions = []
    for suggestion_id, told in standing.suggestions.items():
        suggestions.append((yield from _explain_match(stream, suggestion_id, told, None)))
    if standing.disposition in ("exception", "duplicate") and any(
        isinstance(told.event, RecordUnmatched) for told in story
    ):
        exception = yield from _explain_exception(stream, named, story)
    outlook = yield from read_outlook(stream)
    return explain_transaction(standing, accepted, story, outlook, match, suggestions, exception)


def _exception_id(stream: Stream, place: Place) -> str:
    side = SIDE_NAMES[place[0]]
    return exception_id(stream.tenant_id, stream.reconciliation_id, side, place[1])


def find_stories(
    stream: Stream, transaction_id: str, sides: Collection[int]
) -> Steps[list[FoundStory]]:
    """Find what the log tells of the transactions of an id, going through it once for all sides.

    Returns:
        A story for each of the sides, in their order; without events and records where it tells of
        none.
    """
    searches = [StorySearch((side, transaction_id), stream.unpack) for side in sides]
    is_read_up = yield from _search_stories(stream, searches)
    found = []
    for search in searches:
        standing = Standing(search.place, stream.tenant_id, stream.reconciliation_id)
        named = _exception_id(stream, search.place)
        casework = yield from _casework(stream, named, _EVERYTHING)
        story = sorted([*search.story, *casework], key=lambda told: told.position)
        for told in story:
            standing.fold(told)
        accepted = search.accepted[::-1]
        found.append(FoundStory(standing, accepted, story, is_read_up or search.is_complete))
    return found


def _search_stories(stream: Stream, searches: Sequence[StorySearch]) -> Steps[bool]:
    """Look for transactions of one id; says whether the log was read up to its beginning."""
    place = searches[0].place
    asked = stream.parameters | {"quoted_id": _quoted(place), "before_version": _EVERYTHING}
    while asked["before_version"] > 0:
        sought = [search for search in searches if not search.is_complete]
        if not sought or stream.reach.is_exhausted:
            return False
        rows = yield "story_before", asked
        if not rows:
            break
        stream.reach.spend(rows)
        for row in rows:
            batch = _read_batch(row)
            if not batch.events:
                if not mentions(batch.journal, place):
                    continue
                # Where it was accepted is told by the events, which name no transaction there.
                whole = yield "batch_at", stream.parameters | {"position": batch.first_position}
                batch = _read_batch(whole[0])
            for search in sought:
                search.read(batch)
        asked["before_version"] = rows[-1]["base_version"]
    return True


def _contents(stream: Stream, places: Collection[Place], position: int) -> Steps[Contents]:
    search = ContentSearch(places, position, stream.unpack)
    asked = stream.parameters | {"position": position, "before_version": _EVERYTHING}
    while search.missing and not stream.reach.is_exhausted:
        rows = yield "journals_before", asked
        if not rows:
            break
        stream.reach.spend(rows)
        for row in rows:
            search.read(_read_batch(row))
        asked["before_version"] = rows[-1]["base_version"]
    return search.found


def _scene(stream: Stream, position: int) -> Steps[tuple[Scene | None, int]]:
    """The definition in force at a position, and its version; none before it can be read."""
    asked = {"position": position, "needs": 0 if position == _EVERYTHING else position}
    rows = yield "definition_in_force", stream.parameters | asked
    if not rows:
        return None, 0
    raw = rows[0]["definition"]
    definition = parse_definition(raw, stream.tenant_id, stream.reconciliation_id)
    return Scene(definition), rows[0]["version"]


def read_outlook(stream: Stream) -> Steps[Outlook]:
    """What the reconciliation is at."""
    scene, _ = yield from _scene(stream, _EVERYTHING)
    rows = yield "outlook", stream.parameters
    if not rows:
        return Outlook(scene, None, is_paused=False)
    at: datetime | None = rows[0]["watermark_at"]
    watermark_us = None if at is None else (at - _EPOCH) // timedelta(microseconds=1)
    return Outlook(scene, watermark_us, rows[0]["status"] == "paused")


def _event_at(stream: Stream, position: int) -> Steps[Told]:
    rows = yield "batch_at", stream.parameters | {"position": position}
    told = _told(rows[0])
    return told[position - told[0].position]


def _quoted(place: Place) -> str:
    """A transaction id as the stored text of events has it."""
    return msgspec.json.encode(place[1]).decode()


def _told(row: Row) -> list[Told]:
    at, user_id = _at(row), row["user_id"]
    events = enumerate(decode_events(row["events"], row["format"]), row["first_position"])
    return [Told(event, position, at, user_id) for position, event in events]


def _read_batch(row: Row) -> ReadBatch:
    events = decode_events(row["events"], row["format"]) if row["events"] is not None else []
    journal = decode_journal(row["journal"]) if row["journal"] is not None else []
    return ReadBatch(row["first_position"], _at(row), events, journal, row["user_id"])


def accepted_records(row: Row) -> tuple[str, list[bytes]]:
    """When a batch was committed, and the packed transactions that it accepted, in order."""
    return _at(row), decode_journal(row["journal"])


def _at(row: Row) -> str:
    return instant_text((row["created_at"] - _EPOCH) // timedelta(microseconds=1))
