"""What explanations say of what cannot be read, of too much to tell, and of what has ended."""

from domain.commands import RejectMatch, ReverseMatch
from domain.events import (
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    RecordUnmatched,
)
from domain.explaining import evidence, matches
from domain.explaining.casework import CaseStory
from domain.explaining.evidence import Scene
from domain.explaining.exceptions import ExceptionTold, explain_exception
from domain.explaining.matches import MatchTold, explain_match
from domain.explaining.members import places_of
from domain.explaining.search import ReadBatch, mentions
from domain.explaining.standing import Standing
from domain.explaining.transactions import Outlook, explain_transaction
from domain.identity import match_id
from tests.unit.domain.test_explaining_properties import scene_contents
from tests.unit.domain.test_explaining_words import REFERENCE, Told, record

PAIRS = {"name": "pairs", "conditions": [REFERENCE]}


def told_match(told, kind=RecordMatched):
    """What is known of the first match or suggestion, and what its members are."""
    past = told.past
    one = next(one for one in past.told if isinstance(one.event, kind))
    places = places_of(one.event.source_ids, one.event.target_ids)
    scene = Scene(past.definition_at(one.position))
    return MatchTold("m", one.event, one), scene, past.contents(places, one.position)


def told_exception(told):
    past = told.past
    one = next(one for one in past.told if isinstance(one.event, RecordUnmatched))
    scene = Scene(past.definition_at(one.position))
    return ExceptionTold("e", one, one, 1, CaseStory()), scene, scene_contents(past, one)


def lonely(**record_fields):
    return Told(PAIRS).take(record("s1", **record_fields)).finish()


def test_a_definition_that_cannot_be_read_is_said_to_lack_and_the_rest_is_told():
    known, _, contents = told_match(Told(PAIRS).take(record("s1"), record("t1")).finish())
    shown = explain_match(known, None, contents)
    assert shown.missing == ["Version 1 of the definition cannot be read yet."]
    assert shown.evidence is None
    assert shown.alternatives_because == "What else could have been matched is not known."
    assert [one.transaction_id for one in shown.members] == ["s1", "t1"]

    exception, _, contents = told_exception(lonely())
    shown = explain_exception(exception, None, None, contents)
    assert shown.missing == ["Version 1 of the definition cannot be read yet."]
    assert shown.severity_because is None
    assert (shown.category, shown.amount) == ("missing_in_target", "10.00")


def test_a_transaction_that_waits_says_so_when_the_definition_cannot_be_read():
    told = Told(PAIRS, window={"wait": "P2D", "lateness": "PT0S"}).take(record("s1"))
    past = told.past
    search = past.story((0, "s1"))
    standing = Standing((0, "s1"), "acme", "orders")
    for one in search.story[::-1]:
        standing.fold(one)
    shown = explain_transaction(
        standing, search.accepted[::-1], search.story[::-1], Outlook(None, None, is_paused=False)
    )
    assert shown.sentences[-1] == "The definition in force cannot be read yet."


def test_a_transaction_with_an_exception_tells_the_exception_s_sentences():
    told = lonely()
    exception = told.exception("s1")
    past = told.past
    search = past.story((0, "s1"))
    standing = Standing((0, "s1"), "acme", "orders")
    for one in search.story[::-1]:
        standing.fold(one)
    outlook = Outlook(Scene(told.state.definition), told.state.watermark_us, is_paused=False)
    shown = explain_transaction(
        standing, search.accepted[::-1], search.story[::-1], outlook, exception=exception
    )
    assert shown.sentences[1:] == exception.sentences


def test_a_member_whose_record_was_not_found_is_named_without_it():
    known, scene, contents = told_match(Told(PAIRS).take(record("s1"), record("t1")).finish())
    shown = explain_match(known, scene, {(0, "s1"): contents[0, "s1"]})
    assert [(one.side, one.transaction_id, one.amount) for one in shown.members] == [
        ("source", "s1", "10.00"),
        ("target", "t1", None),
    ]
    assert len(shown.missing) == 1
    assert "t1" in shown.missing[0]


def test_more_than_can_be_weighed_or_listed_is_said(monkeypatch):
    known, scene, contents = told_match(Told(PAIRS).take(record("s1"), record("t1")).finish())
    monkeypatch.setattr(evidence, "PAIRS_MAX", 0)
    monkeypatch.setattr(matches, "PAIRS_MAX", 0)
    monkeypatch.setattr(matches, "MEMBERS_MAX", 1)
    shown = explain_match(known, scene, contents)
    assert shown.missing == [
        "More than 0 pairs of members are not compared again.",
        "Only the first 1 of 2 members are listed.",
    ]
    assert [one.transaction_id for one in shown.members] == ["s1"]
    assert shown.sentences[-2:] == shown.missing


def test_of_many_possible_pairs_the_first_are_told(monkeypatch):
    told = Told(PAIRS).take(record("s1"), record("t1"), record("t2"), record("t3")).finish()
    known, scene, contents = told_match(told, MatchSuggested)
    assert "Only the first 2 possible pairs are told." not in (
        explain_match(known, scene, contents).sentences
    )
    monkeypatch.setattr(matches, "POSSIBLE_MAX", 2)
    shown = explain_match(known, scene, contents)
    assert [one.target_id for one in shown.possible] == ["t1", "t2"]
    assert "Only the first 2 possible pairs are told." in shown.sentences


def test_weighed_by_other_limits_a_match_is_said_not_to_hold():
    told = Told(PAIRS).take(record("s1"), record("t1")).finish()
    known, _, contents = told_match(told)
    other = record("t1", amount="11.00")
    shown = explain_match(known, Scene(told.state.definition), {**contents, (1, "t1"): other})
    assert "Weighed again, the rule would not match these members." in shown.sentences


def test_what_a_person_or_a_correction_put_an_end_to_says_how():
    at_once = PAIRS | {"settle": "immediate"}

    def suggested():
        return Told(at_once | {"outcome": "suggest"}).take(record("s1"), record("t1"))

    rejected = suggested()
    (name,) = rejected.state.book.suggestions
    rejected.ask(RejectMatch(name, "no"), "c-1")
    withdrawn = suggested().take(record("s1", amount="12.00", supersedes="s1"))
    undone = Told(at_once).take(record("s1"), record("t1"))
    matched = told_match(undone)[0].event
    of_match = match_id("acme", "orders", "pairs", ["s1"], ["t1"], matched.newest_ms)
    undone.ask(ReverseMatch(of_match, ["s1"], ["t1"], "a mistake"), "c-1")
    for told, made, end, status in (
        (rejected, MatchSuggested, MatchRejected, "rejected"),
        (withdrawn, MatchSuggested, MatchSuperseded, "superseded"),
        (undone, RecordMatched, MatchReversed, "reversed"),
    ):
        known, scene, contents = told_match(told, made)
        ended = next(one for one in told.past.told if isinstance(one.event, end))
        shown = explain_match(known._replace(ended=ended), scene, contents)
        assert shown.status == status
        assert shown.ended.sentence in shown.sentences


def test_a_severity_raised_by_age_says_how_long_it_had_waited():
    definition = {
        "severity": {"escalate_after": "PT1H"},
        "window": {"wait": "P2D", "lateness": "PT0S"},
    }
    told = Told(PAIRS, **definition).take(record("s1")).finish()
    exception, scene, contents = told_exception(told)
    shown = explain_exception(exception, scene, scene, contents)
    assert shown.severity_because.endswith(
        f"raised to {shown.severity} since it had waited for more than 1 hour."
    )


def test_a_batch_without_its_events_gives_every_record_of_its_journal():
    first, second = record("s1").packed, record("s2").packed
    bare = ReadBatch(7, "2026-01-05T12:00:00Z", [], [first, second])
    assert list(bare.accepted(8)) == [(7, first), (7, second)]
    assert mentions([first, second], (0, "s2"))
    assert not mentions([first], (0, "s2"))
