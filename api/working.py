"""Working exceptions: assign, comment, resolve, dismiss and reopen, one or many at a time."""

import uuid
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel, StringConstraints, field_validator
from typing_extensions import override

from api.casework import Step, work_many, work_one
from api.commands import Command, WriteHeaders
from api.decisions import WITHOUT_NUL, read_body
from api.errors import ApiError
from api.operations import Answer, Call, Handler, Operation
from api.parameters import parse_id
from domain.casework import (
    ASSIGNEE_LENGTH_MAX,
    COMMENT_LENGTH_MAX,
    Assign,
    CaseCommand,
    Comment,
    Dismiss,
    Reopen,
    Resolve,
)
from domain.commands import REASON_LENGTH_MAX

#: Exceptions of one request at most: they are appended in one transaction.
MANY_MAX = 500


def _text(length_max: int) -> Any:
    return StringConstraints(
        strip_whitespace=True, min_length=1, max_length=length_max, pattern=WITHOUT_NUL
    )


Assignee = Annotated[
    Annotated[str, _text(ASSIGNEE_LENGTH_MAX)] | None,
    Field(description="Who is to work on it, by a name the tenant's people know; null: nobody."),
]
CommentText = Annotated[str, _text(COMMENT_LENGTH_MAX)]
GivenReason = Annotated[
    str, _text(REASON_LENGTH_MAX), Field(description="Kept with the decision; say why.")
]
MaybeReason = Annotated[
    Annotated[str, _text(REASON_LENGTH_MAX)] | None,
    Field(description="Kept with the decision; say why."),
]
Resolution = Literal["write_off", "timing_difference", "duplicate_confirmed", "false_positive"]


class Work(BaseModel, ABC):
    """What is to be done with an exception."""

    model_config = {"extra": "forbid"}

    @abstractmethod
    def command(self) -> CaseCommand:
        """Give it as the domain has it."""


class AssignWork(Work):
    """Say who works on it: it is `in_progress` then."""

    assignee: Assignee

    @override
    def command(self) -> CaseCommand:
        return Assign(self.assignee)


class CommentWork(Work):
    """Say something about it."""

    comment: CommentText

    @override
    def command(self) -> CaseCommand:
        return Comment(self.comment)


class ResolveWork(Work):
    """Close it, with how and why."""

    resolution: Resolution
    reason: GivenReason

    @override
    def command(self) -> CaseCommand:
        return Resolve(self.resolution, self.reason)


class DismissWork(Work):
    """Close it as nothing to do."""

    reason: MaybeReason = None

    @override
    def command(self) -> CaseCommand:
        return Dismiss(self.reason)


class ReopenWork(Work):
    """Open again what a person has closed."""

    reason: MaybeReason = None

    @override
    def command(self) -> CaseCommand:
        return Reopen(self.reason)


class _Many(BaseModel):
    exception_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=MANY_MAX)]

    @field_validator("exception_ids")
    @classmethod
    def _once_each(cls, ids: list[uuid.UUID]) -> list[uuid.UUID]:
        if len(set(ids)) != len(ids):
            raise ValueError("an exception is named twice")
        return ids


class AssignMany(AssignWork, _Many):
    """Assign many."""

    action: Literal["assign"]


class CommentMany(CommentWork, _Many):
    """Comment on many."""

    action: Literal["comment"]


class ResolveMany(ResolveWork, _Many):
    """Resolve many."""

    action: Literal["resolve"]


class DismissMany(DismissWork, _Many):
    """Dismiss many."""

    action: Literal["dismiss"]


class ReopenMany(ReopenWork, _Many):
    """Reopen many."""

    action: Literal["reopen"]


class BulkWork(
    RootModel[
        Annotated[
            AssignMany | CommentMany | ResolveMany | DismissMany | ReopenMany,
            Field(discriminator="action"),
        ]
    ]
):
    """One action on many exceptions."""


class BulkOutcome(BaseModel):
    """What became of one exception of many."""

    exception_id: uuid.UUID
    status: Literal["done", "refused"]
    command_id: uuid.UUID | None = Field(description="Null where it was refused.")
    version: int | None = Field(description="The exception's version now; null where refused.")
    error: str | None = Field(description="Why it was refused, one of the codes of errors.")
    message: str | None


class BulkOutcomes(BaseModel):
    """What became of each, in the order asked."""

    items: list[BulkOutcome]


class WorkHeaders(WriteHeaders):
    """Headers of a write to one exception."""

    if_match: str | None = Field(
        None,
        alias="If-Match",
        pattern=r'^(\*|"\d{1,9}"|\d{1,9})$',
        description="The exception's `version` as the caller saw it; when it is another by now, "
        "nothing is done.",
    )


class ShownQuery(BaseModel):
    """How long a write may wait for what it did to be readable."""

    model_config = {"extra": "forbid"}

    wait: float = Field(
        0,
        ge=0,
        le=30,
        description="Seconds to wait until lists and figures show it; it is done in any case.",
    )


async def _work(call: Call, model: type[Work]) -> Answer:
    exception_id = str(parse_id(call.path("exception_id"), "exception"))
    wait, headers = call.query(ShownQuery).wait, call.header_fields(WorkHeaders)
    body, expected = await read_body(call, model), _version(headers.if_match)
    return await work_one(call, exception_id, body.command(), headers, expected, wait)


def _version(if_match: str | None) -> int | None:
    return None if if_match in (None, "*") else int(str(if_match).strip('"'))


async def assign_exception(call: Call) -> Answer:
    """Say who works on an exception."""
    return await _work(call, AssignWork)


async def comment_exception(call: Call) -> Answer:
    """Say something about an exception."""
    return await _work(call, CommentWork)


async def resolve_exception(call: Call) -> Answer:
    """Close an exception, with how and why."""
    return await _work(call, ResolveWork)


async def dismiss_exception(call: Call) -> Answer:
    """Close an exception as nothing to do."""
    return await _work(call, DismissWork)


async def reopen_exception(call: Call) -> Answer:
    """Open again what a person has closed."""
    return await _work(call, ReopenWork)


async def work_exceptions(call: Call) -> BulkOutcomes:
    """Do one thing with many exceptions."""
    wait, headers = call.query(ShownQuery).wait, call.header_fields(WriteHeaders)
    body = (await call.body(BulkWork)).root
    ids = [str(one) for one in body.exception_ids]
    outcomes = await work_many(call, ids, body.command(), headers, wait)
    return BulkOutcomes(items=[_to_outcome(*one) for one in zip(ids, outcomes, strict=True)])


def _to_outcome(exception_id: str, outcome: Step | ApiError) -> BulkOutcome:
    named = uuid.UUID(exception_id)
    if isinstance(outcome, ApiError):
        return BulkOutcome(
            exception_id=named, status="refused", command_id=None, version=None,
            error=outcome.code, message=outcome.message,
        )  # fmt: skip
    return BulkOutcome(
        exception_id=named, status="done", command_id=uuid.UUID(outcome.command_id),
        version=outcome.version, error=None, message=None,
    )  # fmt: skip


def _operation(
    action: str, handler: Handler, body: type[Work], summary: str, description: str
) -> Operation:
    return Operation(
        method="POST",
        path=f"/exceptions/{{exception_id}}/{action}",
        handler=handler,
        tag="exceptions",
        summary=summary,
        description=description,
        query=ShownQuery,
        headers=WorkHeaders,
        body=body,
        answer=Command,
        status=202,
        errors=(
            "not_found", "version_conflict", "exception_closed", "exception_matched",
            "exception_open", "exception_busy", "casework_full",
        ),
    )  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/exceptions/bulk",
        handler=work_exceptions,
        tag="exceptions",
        summary="Work many exceptions",
        description="Does one thing with each that it can be done with, and says why not with "
        "the others. What can be done is done together, or none of it.",
        query=ShownQuery,
        headers=WriteHeaders,
        body=BulkWork,
        answer=BulkOutcomes,
        status=202,
        errors=("exception_busy",),
    ),
    _operation(
        "assign", assign_exception, AssignWork, "Assign an exception",
        "One that is open is `in_progress` while somebody is assigned.",
    ),
    _operation(
        "comment", comment_exception, CommentWork, "Comment on an exception",
        "The comment stands in its story.",
    ),
    _operation(
        "resolve", resolve_exception, ResolveWork, "Resolve an exception",
        "Closes it for people. The matching goes on all the same: when its counterpart comes, the "
        "match resolves it, and the story shows both.",
    ),
    _operation(
        "dismiss", dismiss_exception, DismissWork, "Dismiss an exception",
        "Closes it as nothing to do; else as resolving it.",
    ),
    _operation(
        "reopen", reopen_exception, ReopenWork, "Reopen an exception",
        "Opens again what a person has closed. What a match has closed is reopened by reversing "
        "the match.",
    ),
)  # fmt: skip
