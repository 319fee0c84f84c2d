"""Appending what people do with exceptions, each to its own stream at the version it was seen at.

Unlike a decision about a match, casework needs no flow: it is done when it is answered. The command
stands in the inbox as done, so it is found by its id as any other.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg.types.json import Jsonb

from api.commands import WriteHeaders, command_id_of, to_command
from api.database import Session
from api.errors import ApiError, not_found
from api.feed import Moved
from api.operations import PREFIX, Answer, Call
from connectors.telemetry import trace_metadata
from domain.casework import Case, CaseCommand, CaseworkEvent, Standing, decide, evolve
from domain.commands import CannotBeDone
from domain.event_batches import PLAIN_FORMAT, decode_events, encode_plain
from domain.identity import casework_stream_id
from domain.transactions import SIDE_NAMES

# Two people at one case at the same moment are rare; more than so many in a row are not people.
_ATTEMPTS = 5
_LOOK_AGAIN_SECONDS = 0.05
_VERSION_TAKEN = "event_store_stream_version_key"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done with one exception, to be appended."""

    case: Case
    reconciliation_id: str
    command_id: str
    correlation_id: str
    event: CaseworkEvent

    @property
    def version(self) -> int:
        """The version of the exception's stream after it."""
        return self.case.version + 1


def _type_of(command: CaseCommand) -> str:
    return str(command.__struct_config__.tag)


def _payload(exception_id: str, command: CaseCommand) -> dict[str, Any]:
    fields = {name: getattr(command, name) for name in command.__struct_fields__}
    return {"exception_id": exception_id, **fields}


async def read_cases(
    session: Session, exception_ids: Sequence[str]
) -> Mapping[str, tuple[Case, str]]:
    """Give the exceptions that there are, each as it stands and with its reconciliation.

    The read model says how the matching left it; what people did since is folded on top.
    """
    tenant_id = session.tenant_id
    rows = await session.rows(
        "read_cases", {"tenant_id": tenant_id, "exception_ids": list(exception_ids)}
    )
    streams = {casework_stream_id(tenant_id, str(row["exception_id"])): row for row in rows}
    since = await session.rows(
        "read_casework_after",
        {
            "tenant_id": tenant_id,
            "stream_ids": list(streams),
            "versions": [row["version"] for row in streams.values()],
        },
    )
    later: dict[str, list[CaseworkEvent]] = {}
    for batch in since:
        # The stream of an exception holds nothing else: whatever appends to it sees to that.
        events = cast(list[CaseworkEvent], decode_events(batch["events"], batch["format"]))
        later.setdefault(batch["stream_id"], []).extend(events)
    cases = {}
    for stream_id, row in streams.items():
        standing = Standing(row["status"], row["resolution"], row["assignee"])
        done = later.get(stream_id, [])
        for event in done:
            standing = evolve(standing, event)
        exception_id = str(row["exception_id"])
        case = Case(
            exception_id,
            SIDE_NAMES.index(row["side"]),
            row["transaction_id"],
            row["version"] + len(done),
            standing,
        )
        cases[exception_id] = (case, row["reconciliation_id"])
    return cases


async def _append(
    session: Session, call: Call, command: CaseCommand, steps: Sequence[Step]
) -> bool:
    """Put the commands on record and have their events appended as the transaction ends.

    Returns:
        False when a command of one of the ids is there already; the transaction is of no use.
    """
    trace = trace_metadata()
    recorded = await session.rows(
        "record_done_commands",
        {
            "tenant_id": call.tenant_id,
            "command_type": _type_of(command),
            "user_id": call.identity.actor,
            "trace": Jsonb(trace),
            "command_ids": [step.command_id for step in steps],
            "reconciliation_ids": [step.reconciliation_id for step in steps],
            "payloads": [Jsonb(_payload(step.case.exception_id, command)) for step in steps],
            "correlation_ids": [step.correlation_id for step in steps],
            "outcomes": [Jsonb(_outcome(call.tenant_id, step)) for step in steps],
        },
    )
    session.run_last(
        "append_casework",
        {
            "stream_ids": [
                casework_stream_id(call.tenant_id, step.case.exception_id) for step in steps
            ],
            "reconciliation_ids": [step.reconciliation_id for step in steps],
            "base_versions": [step.case.version for step in steps],
            "format": PLAIN_FORMAT,
            "events": [encode_plain([step.event]).decode() for step in steps],
            "metadata": [Jsonb(_metadata(call, step, trace)) for step in steps],
        },
    )
    return len(recorded) == len(steps)


def _outcome(tenant_id: str, step: Step) -> dict[str, Any]:
    exception_id = step.case.exception_id
    return {
        "exception_id": exception_id,
        "stream_id": casework_stream_id(tenant_id, exception_id),
        "stream_version": step.version,
    }


def _metadata(call: Call, step: Step, trace: Mapping[str, str]) -> dict[str, str]:
    return {
        "correlation_id": step.correlation_id,
        "causation_id": step.command_id,
        "user_id": call.identity.actor,
        **trace,
    }


class _Overtaken(Exception):
    """Somebody else was at the same case, or this very request was; it is to be tried again."""


async def work_one(
    call: Call,
    exception_id: str,
    command: CaseCommand,
    headers: WriteHeaders,
    expected: int | None,
    wait: float,
) -> Answer:
    """Do one thing with one exception.

    Args:
        expected: The version the caller saw; None: whichever.
        wait: Seconds to wait for the read model to show it.

    Raises:
        ApiError: `not_found`, `version_conflict`, `idempotency_conflict`, or why it cannot be done.
    """
    command_id = str(command_id_of(call, headers.idempotency_key))
    correlation_id = headers.correlation_id or command_id
    call.note(command_id=command_id, command_type=_type_of(command))
    for _ in range(_ATTEMPTS):
        try:
            row = await _try_one(
                call, exception_id, command, expected, (command_id, correlation_id)
            )
        except _Overtaken:
            continue
        version = int(row["outcome"]["stream_version"])
        await _wait_until_shown(call, {exception_id: version}, wait)
        location = f"{PREFIX}/commands/{command_id}"
        return Answer(to_command(row), status=202, headers={"Location": location})
    raise ApiError("exception_busy")


async def _try_one(
    call: Call,
    exception_id: str,
    command: CaseCommand,
    expected: int | None,
    ids: tuple[str, str],
) -> dict[str, Any]:
    """Do it in one transaction, or find it done by the command of this id; gives its row."""
    key = {"tenant_id": call.tenant_id, "command_id": ids[0]}
    try:
        async with call.services.database.tenant(call.tenant_id) as session:
            row = await session.row("read_command", key)
            if row is None:
                found = (await read_cases(session, [exception_id])).get(exception_id)
                if found is None:
                    raise not_found("exception", exception_id)
                step = _decide(*found, command, expected, ids)
                if not await _append(session, call, command, [step]):
                    raise _Overtaken
                row = await session.row("read_command", key)
    except psycopg.errors.UniqueViolation as error:
        raise _overtaken_or(error) from error
    assert row is not None
    asked = (_type_of(command), _payload(exception_id, command))
    if (row["command_type"], row["payload"]) != asked:
        raise ApiError("idempotency_conflict")
    return row


def _overtaken_or(error: psycopg.errors.UniqueViolation) -> Exception:
    return _Overtaken() if error.diag.constraint_name == _VERSION_TAKEN else error


def _decide(
    case: Case,
    reconciliation_id: str,
    command: CaseCommand,
    expected: int | None,
    ids: tuple[str, str],
) -> Step:
    """Decide one thing; `ids` are the command's and the correlation's."""
    if expected is not None and expected != case.version:
        raise ApiError(
            "version_conflict",
            f"The exception is at version {case.version}, not {expected}: somebody has worked on "
            "it. Read it again.",
        )
    try:
        event = decide(case, command, ids[0])
    except CannotBeDone as refusal:
        raise ApiError(refusal.code, str(refusal)) from refusal
    return Step(case, reconciliation_id, *ids, event)


async def work_many(
    call: Call,
    exception_ids: Sequence[str],
    command: CaseCommand,
    headers: WriteHeaders,
    wait: float,
) -> list[Step | ApiError]:
    """Do one thing with many exceptions: all that it can be done with, together.

    Returns:
        For each of the ids, in order, what was done or why not.

    Raises:
        ApiError: `exception_busy`; then nothing was done.
    """
    correlation_id = headers.correlation_id or str(uuid.uuid4())
    for _ in range(_ATTEMPTS):
        try:
            outcomes = await _try_many(call, exception_ids, command, correlation_id)
        except _Overtaken:
            continue
        done = [one for one in outcomes if isinstance(one, Step)]
        await _wait_until_shown(call, {step.case.exception_id: step.version for step in done}, wait)
        return outcomes
    raise ApiError("exception_busy")


async def _try_many(
    call: Call, exception_ids: Sequence[str], command: CaseCommand, correlation_id: str
) -> list[Step | ApiError]:
    outcomes: list[Step | ApiError] = []
    try:
        async with call.services.database.tenant(call.tenant_id) as session:
            cases = await read_cases(session, exception_ids)
            for exception_id in exception_ids:
                found = cases.get(exception_id)
                if found is None:
                    outcomes.append(not_found("exception", exception_id))
                    continue
                try:
                    step = _decide(*found, command, None, (str(uuid.uuid4()), correlation_id))
                except ApiError as refusal:
                    outcomes.append(refusal)
                else:
                    outcomes.append(step)
            done = [one for one in outcomes if isinstance(one, Step)]
            call.note(
                correlation_id,
                command_type=_type_of(command),
                exception_ids=[step.case.exception_id for step in done],
            )
            if done:
                await _append(session, call, command, done)
    except psycopg.errors.UniqueViolation as error:
        raise _overtaken_or(error) from error
    return outcomes


async def _wait_until_shown(call: Call, versions: Mapping[str, int], seconds: float) -> None:
    """Look again until the read model shows these versions or the caller's patience ends."""
    deadline = time.monotonic() + seconds
    asked = {
        "tenant_id": call.tenant_id,
        "exception_ids": list(versions),
        "versions": list(versions.values()),
    }
    while versions and time.monotonic() < deadline:
        async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
            rows = await session.rows("read_shown_casework", asked)
        if sum(row["shown"] for row in rows) == len(versions):
            for row in rows:
                moved = Moved(call.tenant_id, row["reconciliation_id"], row["position"])
                call.services.feed.seen(moved)
            return
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
