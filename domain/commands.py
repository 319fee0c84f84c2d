"""What people ask of a reconciliation's matching, and the refusal of what cannot be done.

Each command ends as an event that carries its id, or as a refusal with a code and a sentence.
Defining a reconciliation is a command too, but it comes with a definition to check first; see
`domain.reconciliation.Reconciliation.define`.
"""

from typing import Annotated, Any

import msgspec

from domain.errors import SettlerError

#: The rule's name of a match by hand.
MANUAL = "manual"
REASON_LENGTH_MAX = 512
MEMBERS_MAX = 10_000

Reason = Annotated[str, msgspec.Meta(max_length=REASON_LENGTH_MAX)] | None
Ids = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=128)]],
    msgspec.Meta(max_length=MEMBERS_MAX),
]
SomeIds = Annotated[Ids, msgspec.Meta(min_length=1)]


class CannotBeDone(SettlerError):
    """A command cannot be done as things stand; `code` is stable, the message a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ConfirmMatch(msgspec.Struct, tag="confirm_match", frozen=True):
    """Make a match of a suggestion.

    Without ids it is the whole suggestion, which must be one possible match; of a set of several
    the ids say which members are the match.
    """

    match_id: str
    source_ids: Ids = []
    target_ids: Ids = []
    reason: Reason = None


class RejectMatch(msgspec.Struct, tag="reject_match", frozen=True):
    """Say that a suggestion is none; its rule does not suggest these members again."""

    match_id: str
    reason: Reason = None


class ReverseMatch(msgspec.Struct, tag="reverse_match", frozen=True):
    """Undo a confirmed match; `source_ids` and `target_ids` are all its members."""

    match_id: str
    source_ids: SomeIds
    target_ids: SomeIds
    reason: Reason = None


class MatchByHand(msgspec.Struct, tag="match_by_hand", frozen=True):
    """Make a match of open transactions, whatever the rules say of them."""

    source_ids: SomeIds
    target_ids: SomeIds
    reason: Reason = None


class Pause(msgspec.Struct, tag="pause", frozen=True):
    """Accept records, but decide nothing until resumed."""

    reason: Reason = None


class Resume(msgspec.Struct, tag="resume", frozen=True):
    """Go on deciding."""

    reason: Reason = None


class StartRun(msgspec.Struct, tag="start_reconciliation", frozen=True, rename={"from_": "from"}):
    """Reconcile a range of event time as a whole, and tell its totals.

    `from_` is in the range and `to` is not. A bare date is the begin of that day.
    """

    from_: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    to: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    name: Annotated[str, msgspec.Meta(max_length=128)] | None = None


class RetryRun(msgspec.Struct, tag="retry_reconciliation", frozen=True):
    """Run again what failed or was cancelled."""

    run_id: str
    reason: Reason = None


class CancelRun(msgspec.Struct, tag="cancel_reconciliation", frozen=True):
    """End a run without its totals."""

    run_id: str
    reason: Reason = None


MatchCommand = ConfirmMatch | RejectMatch | ReverseMatch | MatchByHand
RunCommand = StartRun | RetryRun | CancelRun
AnyCommand = MatchCommand | RunCommand | Pause | Resume

#: What a command is called in the inbox. Defining is one more; see the module.
COMMAND_TYPES = tuple(
    str(one.__struct_config__.tag)
    for one in (
        ConfirmMatch,
        RejectMatch,
        ReverseMatch,
        MatchByHand,
        Pause,
        Resume,
        StartRun,
        RetryRun,
        CancelRun,
    )
)


def parse_command(command_type: str, payload: dict[str, Any]) -> AnyCommand:
    """Check a command as it came from the inbox.

    Raises:
        CannotBeDone: `unknown_command`, or `invalid_command` with what is wrong where.
    """
    if command_type not in COMMAND_TYPES:
        known = ", ".join(("define", *COMMAND_TYPES))
        raise CannotBeDone(
            "unknown_command", f"{command_type!r} is no command of this release; known: {known}."
        )
    try:
        command: AnyCommand = msgspec.convert({**payload, "type": command_type}, AnyCommand)
    except msgspec.ValidationError as problem:
        raise CannotBeDone("invalid_command", f"The command cannot be read: {problem}.") from None
    return command
