"""What is said of people's work on exceptions, word by word, and how a case stands by it."""

import pytest

from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.definition_parsing import parse_definition
from domain.events import ExceptionResolved, RecordUnmatched
from domain.explaining.casework import CaseStory
from domain.explaining.evidence import Scene
from domain.explaining.exceptions import ExceptionTold, explain_exception
from domain.explaining.matches import Told
from domain.explaining.members import Contents

WHERE = (0, "s1")
OPENED = RecordUnmatched(
    *WHERE, "missing_in_target", "low", 1000, "EUR", 0, None, "no target is near", [], 1
)
ASSIGNED = ExceptionAssigned(*WHERE, "ann", "c1")
FREED = ExceptionAssigned(*WHERE, None, "c2")
COMMENTED = ExceptionCommented(*WHERE, "is it\n  the fee?", "c3")
WRITTEN_OFF = ExceptionResolved(*WHERE, "write_off", None, "a fee.", "c4")
DISMISSED = ExceptionResolved(*WHERE, "dismissed", None, None, "c5")
REOPENED = ExceptionReopened(*WHERE, "not so", "c6")
MATCHED = ExceptionResolved(*WHERE, "late_match", "m1")
NOTHING: Contents = {}


def story(*events, user_id="user:7") -> CaseStory:
    case = CaseStory()
    for position, event in enumerate((OPENED, *events), 1):
        case.fold(Told(event, position, f"T{position}", user_id))
    return case


def explained(*events):
    rule = {"name": "reference", "conditions": [{"field": "reference", "operator": "exact"}]}
    definition = parse_definition(
        {"tenant_id": "acme", "reconciliation_id": "orders", "rules": [rule]}
    )
    opened, scene = Told(OPENED, 1, "T1"), Scene(definition)
    told = ExceptionTold("e", opened, opened, 1, story(*events))
    return explain_exception(told, scene, scene, NOTHING)


def test_everything_people_do_is_told_with_who_and_when():
    work = explained(ASSIGNED, COMMENTED, FREED, WRITTEN_OFF, REOPENED, DISMISSED).work
    assert [one.sentence for one in work] == [
        "A person assigned the exception to ann (user:7, command c1).",
        "A person commented on the exception (user:7, command c3): is it the fee?",
        "A person assigned the exception to nobody (user:7, command c2).",
        "A person resolved the exception as write_off (user:7, command c4): a fee.",
        "A person reopened the exception (user:7, command c6): not so.",
        "A person dismissed the exception (user:7, command c5).",
    ]
    assert [(one.by, one.at, one.user_id) for one in work] == [
        ("person", f"T{place}", "user:7") for place in range(2, 8)
    ]
    assert work[1].reason == "is it\n  the fee?", "whole where it is a field"
    (of_no_user,) = story(DISMISSED, user_id=None).work
    assert of_no_user.sentence == "A person dismissed the exception (command c5)."


@pytest.mark.parametrize(
    ("events", "status", "last"),
    [
        ((ASSIGNED,), "in_progress", "It is in progress: ann works on it."),
        (
            (ASSIGNED, WRITTEN_OFF),
            "resolved",
            (
                "It is resolved as write_off by a person; that closes it for people, and a "
                "counterpart that comes later is matched all the same."
            ),
        ),
        (
            (DISMISSED,),
            "dismissed",
            (
                "It is dismissed by a person; that closes it for people, and a counterpart that "
                "comes later is matched all the same."
            ),
        ),
        (
            (WRITTEN_OFF, MATCHED),
            "resolved",
            "It is resolved: a counterpart came late and the rules took it (match m1).",
        ),
        ((WRITTEN_OFF, ASSIGNED, REOPENED), "in_progress", "It is in progress: ann works on it."),
    ],
)
def test_it_is_said_how_the_exception_stands(events, status, last):
    shown = explained(*events)
    assert shown.status == status
    standing = [one for one in shown.sentences if one.startswith("It is ")]
    assert standing == [last]
    is_gone = MATCHED in events
    assert shown.sentences[0].startswith(
        f"source s1 over 10.00 EUR {'was' if is_gone else 'is'} an"
    )


def test_the_matching_has_the_last_word_and_what_changed_nothing_says_so():
    shown = explained(ASSIGNED, MATCHED, WRITTEN_OFF, REOPENED, COMMENTED)
    assert (shown.status, shown.resolution, shown.match_id) == ("resolved", "late_match", "m1")
    assert shown.resolution_reason is None
    sentences = [one.sentence for one in shown.work]
    assert sentences[1:] == [
        (
            "A person resolved the exception as write_off (user:7, command c4): a fee. That "
            "changed nothing, since it was resolved (late_match) by then."
        ),
        (
            "A person reopened the exception (user:7, command c6): not so. That changed "
            "nothing, since it was resolved (late_match) by then."
        ),
        "A person commented on the exception (user:7, command c3): is it the fee?",
    ]


def test_what_opens_anew_is_open_whatever_was_said_before():
    shown = explained(ASSIGNED, WRITTEN_OFF, MATCHED, OPENED)
    assert (shown.status, shown.resolution, shown.match_id) == ("in_progress", None, None)
    assert len(shown.work) == 2
    assert shown.resolution_reason is None
    closed = explained(WRITTEN_OFF)
    assert (closed.resolution, closed.resolution_reason) == ("write_off", "a fee.")
