"""One transaction with its story: where it stands in each reconciliation and side that hold it."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from api.database import Session
from api.dead_letters import DeadLetter, cursor_start, to_dead_letter
from api.errors import ApiError, ErrorDetail, not_found
from api.explanations import REACH_BYTES_MAX, beyond_reach, follow
from api.operations import PREFIX, Call, Operation
from api.parameters import ReconciliationFilter, Side
from api.transactions import AcceptedTransaction, to_accepted
from domain.casework import is_casework
from domain.events import ExceptionReclassified, ExceptionResolved, RecordUnmatched
from domain.explaining.shown import StoryLine
from domain.explaining.standing import ended_matches
from domain.explaining.transactions import Outlook, story_lines, wait_end
from domain.identity import exception_id
from domain.record_json import TRANSACTION_ID_LENGTH_MAX
from domain.transactions import SIDE_NAMES
from projections.explaining import FoundStory, Reach, Stream, find_stories, read_outlook

#: Reconciliations that one request looks through; who has more says which.
RECONCILIATIONS_MAX: Final = 100
#: Dead letters of one answer; `/dead-letters?transaction_id=` goes on.
LETTERS_MAX: Final = 20

Disposition = Literal["pending", "matched", "suggested", "exception", "duplicate", "superseded"]


class TransactionLinks(BaseModel):
    """Where more is told, as paths with their queries."""

    explanation: str = Field(description="Why it stands where it stands.")
    match: str | None
    suggestions: list[str]
    exception: str | None = Field(description="Its exception, be it open or closed.")


class TransactionStory(BaseModel):
    """What became of a transaction in one reconciliation, on one side."""

    reconciliation_id: str
    side: Side
    standing: Disposition | None = Field(
        description="Where it stands now. Null where the log was not followed back far enough to "
        "tell; `settler explain` reads all of it."
    )
    transaction: AcceptedTransaction | None = Field(
        description="As it was accepted, the last of its corrections under the same id. Null where "
        "the journal that had it has expired, or lies further back than one request looks."
    )
    corrected: list[AcceptedTransaction] = Field(
        description="What stood under its id before a record of the same id corrected it, oldest "
        "first."
    )
    waits_until: str | None = Field(
        description="Of a pending one: the event time at which its wait for a counterpart ends.",
        examples=["2026-03-03T12:00:00Z"],
    )
    duplicate_of: str | None = Field(description="The transaction of its side that came first.")
    superseded_by: str | None = Field(description="The transaction of its side that corrects it.")
    match_id: str | None = Field(description="The match that it is in now.")
    suggestion_ids: list[str] = Field(description="The suggestions that it is in now.")
    ended_match_ids: list[str] = Field(
        description="Matches and suggestions that it was in: reversed, rejected or superseded."
    )
    exception_id: str | None = Field(description="Its exception, be it open or closed.")
    story: list[StoryLine] = Field(
        description="What happened to it, oldest first, with the position in the log."
    )
    links: TransactionLinks


class TransactionStories(BaseModel):
    """Everything that is known under one transaction id."""

    transaction_id: str
    stories: list[TransactionStory] = Field(
        description="One for each reconciliation and side that hold it, by their names."
    )
    dead_letters: list[DeadLetter] | None = Field(
        description=f"Records of this id that could not be used, newest first, {LETTERS_MAX} at "
        "most; `/dead-letters?transaction_id=` lists all. Null for a credential without "
        "`dead_letters:read`."
    )
    unfinished: list[str] = Field(
        description="Reconciliations whose log is longer than one request looks through, so that "
        "more of it may lie there: name one as `reconciliation_id` to look further back."
    )


class TransactionStoriesQuery(BaseModel):
    """Where to look; ids are unique per reconciliation and side."""

    model_config = ConfigDict(extra="forbid")

    reconciliation_id: ReconciliationFilter = None
    side: Annotated[Side | None, Field(description="Only this side.")] = None


async def _reconciliations(session: Session, query: TransactionStoriesQuery) -> list[str]:
    """Say where to look, the shortest logs first."""
    if query.reconciliation_id is not None:
        return [query.reconciliation_id]
    asked = {"tenant_id": session.tenant_id, "limit": RECONCILIATIONS_MAX + 1}
    rows = await session.rows("list_reconciliation_ids", asked)
    if len(rows) > RECONCILIATIONS_MAX:
        message = f"needed, for there are more than {RECONCILIATIONS_MAX} reconciliations"
        detail = ErrorDetail(path="reconciliation_id", message=message)
        raise ApiError("invalid_parameter", f"reconciliation_id: {message}.", [detail])
    return [row["reconciliation_id"] for row in rows]


async def _letters(
    session: Session, query: TransactionStoriesQuery, transaction_id: str
) -> list[DeadLetter]:
    asked = {
        **cursor_start(None),
        "tenant_id": session.tenant_id,
        "reconciliation_id": query.reconciliation_id,
        "side": None if query.side is None else SIDE_NAMES.index(query.side),
        "transaction_id": transaction_id,
        "code": None,
        "redriven": None,
        "limit": LETTERS_MAX,
    }
    rows = await session.rows("list_dead_letters", asked)
    return [DeadLetter(**to_dead_letter(row)) for row in rows]


async def _look_through(
    session: Session, names: Sequence[str], sides: Sequence[int], transaction_id: str
) -> tuple[list[TransactionStory], list[str]]:
    """Find the stories in some reconciliations, and name those that were not read far enough.

    What one leaves of its share of the reading goes to those after it.
    """
    stories: list[TransactionStory] = []
    unfinished: list[str] = []
    left = REACH_BYTES_MAX
    for done, name in enumerate(names):
        if left < 0:
            unfinished.append(name)
            continue
        stream = Stream(session.tenant_id, name, Reach(left // (len(names) - done)))
        found = await follow(session, find_stories(stream, transaction_id, sides))
        left -= stream.reach.spent
        if not all(one.is_whole for one in found):
            unfinished.append(name)
        for one in found:
            if one.accepted or one.story:
                outlook = None
                if one.accepted and one.standing.disposition == "pending":
                    outlook = await follow(session, read_outlook(stream))
                stories.append(_tell(one, outlook))
    return stories, unfinished


def _tell(found: FoundStory, outlook: Outlook | None) -> TransactionStory:
    standing, accepted = found.standing, found.accepted
    (side, transaction_id), name = standing.place, standing.reconciliation_id
    # All that came after an acceptance was read; of what began further back the last word may be
    # about something else than where it stands.
    is_known = bool(accepted) or found.is_whole
    records = [AcceptedTransaction(**to_accepted(one.at, one.transaction)) for one in accepted]
    match_id = None if standing.match is None else standing.match[0]
    case = None
    if any(
        isinstance(told.event, RecordUnmatched | ExceptionReclassified | ExceptionResolved)
        or is_casework(told.event)
        for told in found.story
    ):
        case = exception_id(standing.tenant_id, name, SIDE_NAMES[side], transaction_id)
    duplicate = standing.duplicate
    place: dict[str, Any] = {
        "side": SIDE_NAMES[side],
        "standing": standing.disposition if is_known else None,
    }
    return TransactionStory(
        reconciliation_id=name,
        **place,
        transaction=records[-1] if records else None,
        corrected=records[:-1],
        waits_until=None if outlook is None else wait_end(accepted[-1].transaction, outlook),
        duplicate_of=None if duplicate is None else duplicate.first_transaction_id,
        superseded_by=standing.superseded_by if standing.disposition == "superseded" else None,
        match_id=match_id,
        suggestion_ids=list(standing.suggestions),
        ended_match_ids=ended_matches(standing, found.story),
        exception_id=case,
        story=story_lines(standing, accepted, found.story),
        links=TransactionLinks(
            explanation=f"{PREFIX}/transactions/{quote(transaction_id, safe='')}/explanation"
            f"?reconciliation_id={name}&side={SIDE_NAMES[side]}",
            match=None if match_id is None else f"{PREFIX}/matches/{match_id}",
            suggestions=[f"{PREFIX}/matches/{one}" for one in standing.suggestions],
            exception=None if case is None else f"{PREFIX}/exceptions/{case}",
        ),
    )


async def read_transaction(call: Call) -> TransactionStories:
    """Show a transaction, where it stands and what happened to it."""
    query = call.query(TransactionStoriesQuery)
    transaction_id = call.path("transaction_id")
    if not 0 < len(transaction_id) <= TRANSACTION_ID_LENGTH_MAX or "\x00" in transaction_id:
        raise not_found("transaction", transaction_id)
    sides = [SIDE_NAMES.index(query.side)] if query.side is not None else range(len(SIDE_NAMES))
    letters = None
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        names = await _reconciliations(session, query)
        stories, unfinished = await _look_through(session, names, sides, transaction_id)
        if call.identity.may("dead_letters:read"):
            letters = await _letters(session, query, transaction_id)
    if not stories and not letters:
        raise (
            beyond_reach(transaction_id) if unfinished else not_found("transaction", transaction_id)
        )
    return TransactionStories(
        transaction_id=transaction_id,
        stories=sorted(stories, key=lambda one: (one.reconciliation_id, one.side)),
        dead_letters=letters,
        unfinished=sorted(unfinished),
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/transactions/{transaction_id}",
        handler=read_transaction,
        tag="transactions",
        summary="Show a transaction and its story",
        description=(
            "What was accepted under an id, where it stands now, what happened to it and in which "
            "matches and exception it is; in each reconciliation and on each side that hold it. "
            "One request looks through the newest part of the log."
        ),
        query=TransactionStoriesQuery,
        answer=TransactionStories,
        errors=("not_found",),
    ),
)
