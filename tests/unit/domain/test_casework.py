"""What people may do with an exception, and what stays of it when matching acts too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.casework import (
    BY_PERSON,
    EVENTS_MAX,
    RESOLUTIONS,
    Assign,
    Case,
    Comment,
    Dismiss,
    Reopen,
    Resolve,
    Standing,
    decide,
    evolve,
)
from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.commands import CannotBeDone
from domain.events import ExceptionResolved
from domain.identity import casework_stream_id, stream_id

OPEN = Standing("open", None, None)
COMMANDS = (
    Assign("ann"), Assign(None), Comment("hm"), Resolve("write_off", "a fee"), Dismiss(), Reopen(),
)  # fmt: skip


def case(standing: Standing = OPEN, version: int = 0) -> Case:
    return Case("id-1", 1, "t-1", version, standing)


def after(*commands, standing: Standing = OPEN) -> Standing:
    for command in commands:
        standing = evolve(standing, decide(case(standing), command, "cmd"))
    return standing


def refusal(standing: Standing, command, version: int = 0) -> str:
    with pytest.raises(CannotBeDone) as raised:
        decide(case(standing, version), command, "cmd")
    assert "id-1" in str(raised.value)
    return raised.value.code


def test_each_command_ends_as_an_event_that_carries_its_id():
    closed = after(Dismiss())
    events = [decide(case(), one, "cmd-1") for one in COMMANDS[:5]]
    events.append(decide(case(closed), Reopen("again"), "cmd-1"))
    assert events == [
        ExceptionAssigned(1, "t-1", "ann", "cmd-1"),
        ExceptionAssigned(1, "t-1", None, "cmd-1"),
        ExceptionCommented(1, "t-1", "hm", "cmd-1"),
        ExceptionResolved(1, "t-1", "write_off", None, "a fee", "cmd-1"),
        ExceptionResolved(1, "t-1", "dismissed", None, None, "cmd-1"),
        ExceptionReopened(1, "t-1", "again", "cmd-1"),
    ]


def test_one_that_is_assigned_is_in_progress_until_it_is_closed():
    assert after(Assign("ann")) == Standing("in_progress", None, "ann")
    assert after(Assign("ann"), Assign(None)) == OPEN
    closed = after(Assign("ann"), Resolve("timing_difference", "tomorrow"))
    assert closed == Standing("resolved", "timing_difference", "ann")
    assert after(Reopen(), standing=closed) == Standing("in_progress", None, "ann")
    assert after(Dismiss()).status == "dismissed"


def test_what_a_person_closed_is_closed_until_it_is_reopened():
    closed = after(Resolve("write_off", "a fee"))
    for command in (Resolve("write_off", "again"), Dismiss(), Assign("bob")):
        assert refusal(closed, command) == "exception_closed"
    assert after(Comment("still odd"), standing=closed) == closed
    assert refusal(OPEN, Reopen()) == "exception_open"


@pytest.mark.parametrize("resolution", ["late_match", "manual_match", "superseded"])
def test_what_the_matching_closed_no_person_opens_or_closes(resolution):
    matched = Standing("resolved", resolution, "ann")
    for command in (Resolve("write_off", "x"), Dismiss(), Assign("bob"), Reopen()):
        assert refusal(matched, command) == "exception_matched"
    assert after(Comment("good"), standing=matched) == matched


@pytest.mark.parametrize("resolution", ["late_match", "superseded"])
def test_what_comes_behind_a_match_leaves_it_as_it_is(resolution):
    """Decided when it was open, appended when the matching had closed it."""
    matched = Standing("resolved", resolution, None)
    for command in (Resolve("write_off", "x"), Dismiss()):
        assert evolve(matched, decide(case(), command, "cmd")) == matched
    reopened = decide(case(after(Dismiss())), Reopen(), "cmd")
    assert evolve(matched, reopened) == matched
    assigned = evolve(matched, decide(case(), Assign("ann"), "cmd"))
    assert assigned == Standing("resolved", resolution, "ann")


def test_a_full_case_can_only_be_closed():
    for command in (Assign("ann"), Comment("hm")):
        assert refusal(OPEN, command, EVENTS_MAX) == "casework_full"
    assert refusal(after(Dismiss()), Reopen(), EVENTS_MAX) == "casework_full"
    for command in (Dismiss(), Resolve("write_off", "x")):
        assert decide(case(version=EVENTS_MAX), command, "cmd")
    assert decide(case(version=EVENTS_MAX - 1), Comment("hm"), "cmd")


@given(st.lists(st.sampled_from(COMMANDS), max_size=12))
def test_a_standing_never_contradicts_itself(commands):
    standing = OPEN
    for command in commands:
        try:
            standing = after(command, standing=standing)
        except CannotBeDone:
            continue
        assert standing.is_open == (standing.resolution is None)
        assert (standing.status == "in_progress") == (
            standing.is_open and standing.assignee is not None
        )
        assert (standing.status == "dismissed") == (standing.resolution == "dismissed")
        assert standing.resolution is None or standing.resolution in BY_PERSON


def test_dismissing_is_a_resolution_beside_the_others():
    assert set(RESOLUTIONS) | {"dismissed"} == BY_PERSON


@given(
    *[st.text("abexcption-_0", min_size=1, max_size=64)] * 2,
    st.sampled_from(["exception", "x"]),
)
def test_no_reconciliation_has_the_stream_of_an_exception(tenant, reconciliation, other):
    identity = "0b7c2f6e-9c0a-3a52-a4a1-5d5f0d6c1b11"
    streams = {stream_id(one, two) for one in (tenant, "exception", other)
               for two in (reconciliation, "exception", identity)}  # fmt: skip
    assert casework_stream_id(tenant, identity) not in streams
    assert casework_stream_id("exception", identity) not in streams
