"""What people do with an exception, beside resolving it; see `domain.casework`."""

import msgspec


class ExceptionAssigned(
    msgspec.Struct, array_like=True, tag="ExceptionAssigned", frozen=True, gc=False
):
    """Somebody is to work on an exception; None: nobody any more."""

    side: int
    transaction_id: str
    assignee: str | None
    command_id: str


class ExceptionCommented(
    msgspec.Struct, array_like=True, tag="ExceptionCommented", frozen=True, gc=False
):
    """A person said something about an exception."""

    side: int
    transaction_id: str
    comment: str
    command_id: str


class ExceptionReopened(
    msgspec.Struct, array_like=True, tag="ExceptionReopened", frozen=True, gc=False
):
    """A person opened again an exception that a person had closed."""

    side: int
    transaction_id: str
    reason: str | None
    command_id: str
