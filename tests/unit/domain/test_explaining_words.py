"""What people read: a few explanations word by word, and what each part of one says."""

import textwrap

import pytest

from domain.commands import ConfirmMatch, MatchByHand, ReverseMatch
from domain.definition_parsing import parse_definition
from domain.events import (
    MatchConfirmed,
    MatchSuggested,
    ReconciliationDefined,
    RecordMatched,
    RecordUnmatched,
)
from domain.explaining.amounts import show_amount
from domain.explaining.casework import CaseStory
from domain.explaining.dates import show_dates
from domain.explaining.evidence import Scene
from domain.explaining.exceptions import BOUND_WORDS, ExceptionTold, explain_exception
from domain.explaining.matches import MatchTold, explain_match
from domain.explaining.members import places_of
from domain.explaining.standing import Standing
from domain.explaining.transactions import Outlook, explain_transaction
from domain.identity import match_id
from domain.matching import groups_of_singles
from domain.matching.block_groups import crowded
from domain.matching.group_pool import CROWDED
from domain.matching.outcomes import TOO_MANY
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import Transaction, build_transaction
from tests.unit.domain.logs import Log
from tests.unit.domain.test_explaining_properties import Past, scene_contents


def page(sentences) -> str:
    """A line a sentence, long ones going on indented."""
    lines = [textwrap.fill(one, 92, subsequent_indent="  ") for one in sentences]
    return "\n" + "\n".join(lines) + "\n"


REFERENCE = {"field": "reference", "operator": "alphanumeric"}


class Told:
    """A reconciliation that is told record by record, and can be asked why."""

    def __init__(self, *rules, **definition) -> None:
        raw = {"tenant_id": "acme", "reconciliation_id": "orders", "rules": list(rules)}
        definition = parse_definition({"window": {"lateness": "PT0S"}, **raw, **definition})
        self.state, self.log = Reconciliation(definition), Log()
        self.log.add(self.state.define(definition, "define").events)

    def take(self, *records) -> "Told":
        decision = self.state.advance(Chunk(list(records), caught_up=True))
        self.log.add(decision.events, decision.journal)
        return self

    def ask(self, command, command_id) -> "Told":
        self.log.add(self.state.decide(command, command_id).events)
        return self

    def finish(self) -> "Told":
        self.log.add(self.state.finish().events)
        return self

    @property
    def past(self) -> Past:
        return Past(self.log, self.state)

    def match(self, kind=RecordMatched):
        past = self.past
        told = next(one for one in past.told if isinstance(one.event, kind))
        places = places_of(told.event.source_ids, told.event.target_ids)
        scene = Scene(past.definition_at(told.position))
        return explain_match(
            MatchTold("m", told.event, told), scene, past.contents(places, told.position)
        )

    def exception(self, transaction_id):
        past = self.past
        told = [
            one
            for one in past.told
            if isinstance(one.event, RecordUnmatched) and one.event.transaction_id == transaction_id
        ][-1]
        scene = Scene(past.definition_at(told.position))
        return explain_exception(
            ExceptionTold("e", told, told, 1, CaseStory()), scene, scene, scene_contents(past, told)
        )

    def transaction(self, transaction_id):
        past, side = self.past, int(transaction_id.startswith("t"))
        search = past.story((side, transaction_id))
        standing = Standing((side, transaction_id), "acme", "orders")
        story = search.story[::-1]
        for told in story:
            standing.fold(told)
        outlook = Outlook(Scene(self.state.definition), self.state.watermark_us, self.state.paused)
        return explain_transaction(standing, search.accepted[::-1], story, outlook)


def record(name, amount="10.00", **fields) -> Transaction:
    """A source when its name begins with s, else a target; of 5 January unless told."""
    built = build_transaction(
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": name,
            "amount": amount,
            "currency": "EUR",
            "occurred_at": "2026-01-05T12:00:00Z",
            "reference": "R-1",
            **fields,
        },
        int(name.startswith("t")),
        None,
    )
    assert isinstance(built, Transaction), built
    return built


def test_a_match_by_fees_tolerance_and_business_days():
    shown = (
        Told(
            {
                "name": "net-of-fee",
                "conditions": [REFERENCE],
                "amount": {
                    "tolerance": {"absolute": "0.05", "percent": "0.5"},
                    "basis": {"source": "amount", "target": "gross"},
                },
                "date": {
                    "min_days": 0, "max_days": 3, "business": True, "time_zone": "Europe/Vienna",
                    "holidays": ["2026-01-06"],
                },
            }
        )
        .take(record("s1", "120.00"))
        .take(
            record("t1", "117.62", fee="2.40", reference="r 1", occurred_at="2026-01-08T23:30:00Z")
        )
        .finish()
        .match()
    )  # fmt: skip
    assert (
        page(shown.sentences)
        == """
1 source and 1 target, 120.00 against 117.62 EUR, as compared difference 0.02: confirmed.
Rule net-of-fee matched them.
net-of-fee is rule 1 of 1 in version 1.
The source's reference 'R-1' has the letters and digits of the target's reference 'r 1'.
120.00 EUR on the source side against 120.02 EUR on the target side: the difference is 0.02,
  and the rule allows up to 0.6001, the larger of 0.05 absolute and 0.6001, 0.5 % of the
  larger amount, the limit itself included (sources compared as they are, targets gross,
  with their fees added).
The source side is of 2026-01-05, the target side of 2026-01-09 in Europe/Vienna: target
  less source is 3 business days, and the rule allows 0 to 3 business days less 1 holiday.
Confidence 1: every condition of the rule holds.
No other candidate then shared a member with it; had one, the rule would have put them
  before a person.
"""
    )


def test_a_group_says_how_it_was_found():
    shown = (
        Told(
            {"name": "pairs", "conditions": [{"field": "counterparty", "operator": "exact"}]},
            {"name": "deposit", "match_type": "one_to_many", "conditions": [REFERENCE],
             "group": {"max_size": 3}, "selection": {"prefer": ["closest_date", "oldest"]}},
        )
        .take(record("s1", "30.00"), record("t1", "10.00"), record("t2", "20.00"))
        .finish()
        .match()
    )  # fmt: skip
    assert (
        page(shown.sentences)
        == """
1 source and 2 targets, 30.00 against 30.00 EUR, difference 0.00: confirmed.
Rule deposit matched them.
deposit is rule 2 of 2 in version 1; it works on what pairs left over.
Groups are searched for sums that agree, fewest members first, up to 3 on the target side.
  This one has 1 source and 2 targets.
The source's reference 'R-1' has the letters and digits of the target's reference 'R-1'.
30.00 EUR on the source side against 30.00 EUR on the target side: they are equal.
Confidence 1: every condition of the rule holds.
Candidates are taken best first (closest date then oldest, then by ids); who else would have
  fitted is not recorded.
"""
    )


def test_near_misses_say_what_failed_first_and_by_how_much():
    told = (
        Told(
            {
                "name": "reference",
                "conditions": [
                    REFERENCE,
                    {"field": "counterparty", "operator": "similarity", "minimum": "0.8"},
                ],
                "amount": {"bounds": {"low": "-1.00", "high": "0.00"}, "inclusive": False},
                "date": {"max_seconds": 60},
            },
            severity={"medium": "50", "high": "500", "critical": "5000"},
        )
        .take(
            record("s1", "120.00", counterparty="Anna Berger"),
            record("t1", "119.00", counterparty="Anna Bergr"),
            record("t2", "119.50", counterparty="Anna Berg", occurred_at="2026-01-05T12:01:30Z"),
            record("t3", "119.50", counterparty="Max Muster"),
            record("t4", "119.50", counterparty="Anna Berger", currency="USD"),
        )
        .finish()
    )
    shown = told.exception("s1")
    assert (
        page(shown.sentences)
        == """
source s1 over 120.00 EUR is an exception, date_mismatch: what is near lies outside the date
  window.
Reason: the target is 90 seconds from the source, outside the window.
Severity medium: 120.00 EUR is medium (medium from 50, high from 500, critical from 5000
  EUR).
t2, nearest by rule reference: The source side is of 2026-01-05T12:00:00Z, the target side
  of 2026-01-05T12:01:30Z: target less source is 90 seconds, and the rule allows 60 seconds
  either way: 30 too far.
t1, nearest by rule reference: 120.00 EUR on the source side against 119.00 EUR on the
  target side: the difference is -1.00, and the rule allows between -1.00 and 0.00, ends not
  included: exactly an end, which is not allowed.
t4, nearest by rule reference: The currencies differ: EUR on the source side, USD on the
  target side.
t3, nearest by rule reference: The source's counterparty 'Anna Berger' is not similar enough
  to the target's counterparty 'Max Muster': 0.3157 alike, at least 0.8 is asked.
"""
    )
    assert [one.failed_condition for one in shown.candidates] == [None, None, None, 1]


def test_a_suggestion_tells_its_possible_pairs_and_its_confidence():
    told = (
        Told({"name": "pairs", "conditions": [REFERENCE]})
        .take(record("s1"), record("t1"), record("t2"))
        .finish()
    )
    shown = told.match(MatchSuggested)
    assert [(one.source_id, one.target_id) for one in shown.possible] == [
        ("s1", "t1"),
        ("s1", "t2"),
    ]
    assert shown.confidence == 0.5
    assert "Confidence 1 ÷ 2: a member has up to 2 possible partners in the set." in shown.sentences
    assert shown.evidence is None


def test_what_a_person_left_out_of_a_suggestion_is_named():
    told = (
        Told({"name": "pairs", "conditions": [REFERENCE]})
        .take(record("s1"), record("t1"), record("t2"))
        .finish()
    )
    (suggestion_id,) = told.state.book.suggestions
    told.ask(ConfirmMatch(suggestion_id, ["s1"], ["t2"]), "c-1")
    events = [
        one for one in told.past.told if isinstance(one.event, MatchSuggested | MatchConfirmed)
    ]
    suggested, confirmed = events
    contents = told.past.contents([(0, "s1"), (1, "t2")], confirmed.position)
    scene = Scene(told.state.definition)
    known = MatchTold("m", confirmed.event, confirmed, suggestion=suggested.event)
    shown = explain_match(known, scene, contents)
    assert shown.alternatives == ["t1"]
    assert shown.decided.sentence == (
        f"A person confirmed them out of the suggestion {suggestion_id} of rule pairs "
        "(command c-1)."
    )
    unknown = explain_match(MatchTold("m", confirmed.event, confirmed), scene, contents)
    assert unknown.alternatives_because.endswith("held is not at hand.")
    whole = explain_match(MatchTold(suggestion_id, confirmed.event, confirmed), scene, contents)
    assert whole.alternatives_because == "A person confirmed the suggestion as a whole."


def test_people_are_told_with_command_and_reason():
    told = (
        Told({"name": "pairs", "conditions": [REFERENCE], "outcome": "suggest"})
        .take(record("s1"), record("t1"), record("s2", reference="X", amount="9.00"))
        .finish()
    )
    (suggestion_id,) = told.state.book.suggestions
    told.ask(ConfirmMatch(suggestion_id, reason="it is the one"), "c-1")
    story = told.transaction("s1").story
    assert [line.sentence for line in story] == [
        "source s1 was accepted.",
        "Rule pairs suggested it with target t1: the rule leaves its matches to a person.",
        "A person matched it with target t1 (command c-1): it is the one.",
    ]
    told.ask(ReverseMatch(suggestion_id, ["s1"], ["t1"], "a mistake"), "c-2").finish()
    told.ask(MatchByHand(["s2"], ["t1"], "a discount"), "c-3")
    assert "A person reversed the match (command c-2): a mistake." in [
        line.sentence for line in told.transaction("s1").story
    ]
    by_hand = [line.sentence for line in told.transaction("s2").story[-2:]]
    assert by_hand == [
        "A person matched it with target t1 (command c-3): a discount.",
        "Its exception was resolved: manual_match.",
    ]
    rejected = told.exception("s1")
    assert rejected.candidates[0].failed == "refused"
    assert "a person has rejected or reversed just this match" in rejected.candidates[0].sentence


def test_duplicates_and_corrections_tell_their_story():
    reference = {"field": "reference", "operator": "exact", "unique": True}
    told = Told({"name": "unique", "conditions": [reference]})
    told.take(record("s1"), record("s2", occurred_at="2026-01-05T13:00:00Z"), record("t1"))
    duplicate = told.finish().transaction("s2")
    assert duplicate.duplicate_of == "s1"
    assert (
        page(duplicate.sentences[:2])
        == """
source s2 over 10.00 EUR of 2026-01-05T13:00:00Z is a duplicate.
Rule unique lets a value occur once per side: 'R-1' was brought by s1 before, so this is a
  duplicate.
"""
    )
    told = Told({"name": "unique", "conditions": [reference]}).take(record("s1"), record("t1"))
    corrected = told.take(record("s3", amount="11.00", supersedes="s1")).transaction("s1")
    assert corrected.superseded_by == "s3"
    assert [line.event_type for line in corrected.story] == [
        "TransactionsAccepted", "RecordMatched", "MatchReversed", "TransactionSuperseded",
    ]  # fmt: skip
    assert corrected.story[-2].sentence == (
        "The match was undone by a correction: s1 was corrected by s3."
    )


@pytest.mark.parametrize("paused", [False, True])
def test_what_is_pending_says_what_it_waits_for(paused):
    told = Told(
        {"name": "pairs", "conditions": [REFERENCE], "settle": "PT2H"},
        window={"wait": "P2D", "lateness": "PT1H"},
    ).take(record("s1"), record("t9", reference="other"))
    told.state.paused = paused
    shown = told.transaction("s1")
    said = shown.sentences
    if paused:
        assert said.pop(1).startswith("The reconciliation is paused")
    assert (
        page(said)
        == """
source s1 over 10.00 EUR of 2026-01-05T12:00:00Z is pending.
It waits for a counterpart until event time passes 2026-01-07T12:00:00Z, its own time and 2
  days; event time is 2026-01-05T11:00:00Z.
A match is final by rule pairs once event time passes its newest member and 2 hours.
"""
    )


def test_a_definition_that_came_later_changes_no_explanation_of_before():
    told = (
        Told({"name": "pairs", "conditions": [REFERENCE]})
        .take(record("s1"), record("t1", reference="r 1"))
        .take(record("s9", occurred_at="2026-02-05", reference="Z"), record("t8", reference="Y",
                                                                         occurred_at="2026-02-05"))
    )  # fmt: skip
    exact = {"name": "pairs", "conditions": [{"field": "reference", "operator": "exact"}]}
    later = parse_definition({"tenant_id": "acme", "reconciliation_id": "orders", "rules": [exact]})
    told.log.add(told.state.define(later, "define-2").events)
    assert told.log.has(ReconciliationDefined)
    shown = told.match()
    assert shown.evidence.holds
    assert shown.evidence.conditions[0].operator == "alphanumeric"


def test_every_reason_of_a_bound_is_known_as_one(monkeypatch):
    source, target = record("s1"), record("t1")
    state = Reconciliation(Told({"name": "pairs", "conditions": [REFERENCE]}).state.definition)
    legs = [state.book.leg_of(one) for one in (source, target)]
    reasons = [
        TOO_MANY,
        CROWDED,
        *(why.text for why in crowded(*[[x] for x in legs]).reasons.values()),
    ]
    monkeypatch.setattr(groups_of_singles, "NODES_MAX", 1)
    rule = {"name": "deposit", "match_type": "one_to_many", "conditions": [REFERENCE]}
    told = Told(rule | {"group": {"max_size": 4}})
    told.take(record("s1", "70.01"), *(record(f"t{n}", f"{n}.0{n % 7}") for n in range(10, 30)))
    shown = told.finish().exception("s1")
    assert shown.not_tried[0].lower().startswith(shown.reason.lower())
    reasons.append(shown.reason)
    for reason in reasons:
        assert any(words in reason for words in BOUND_WORDS), reason


def test_a_match_has_the_id_that_its_members_give(monkeypatch):
    told = Told({"name": "pairs", "conditions": [REFERENCE]}).take(record("s1"), record("t1"))
    past = told.finish().past
    event = next(one for one in past.told if isinstance(one.event, RecordMatched))
    standing = Standing((0, "s1"), "acme", "orders")
    standing.fold(event)
    newest_ms = event.event.newest_ms
    named = match_id("acme", "orders", "pairs", ["s1"], ["t1"], newest_ms)
    assert standing.match == (named, event)


def test_a_side_in_several_currencies_is_not_compared():
    scene = Scene(Told({"name": "pairs", "conditions": [REFERENCE]}).state.definition)
    sources = [scene.leg(record(f"s{one}", currency=one)) for one in ("USD", "EUR", "USD")]
    shown = show_amount(scene.rule("pairs"), sources, [scene.leg(record("t1"))])
    assert (shown.holds, shown.source, shown.target, shown.difference) == (
        False, None, "10.00", None,
    )  # fmt: skip
    assert shown.sentence == "The amounts cannot be compared: one side is in EUR and USD."


def test_a_candidate_that_now_fits_is_told_in_the_words_of_the_decision():
    nearly = {"field": "description", "operator": "edit_distance", "maximum": 1}
    told = Told({"name": "nearly", "conditions": [REFERENCE, nearly]})
    records = record("s1", description="Anna"), record("t1", description="Max")
    past = told.take(*records).finish().past
    opened = next(one for one in past.told if isinstance(one.event, RecordUnmatched))
    scene, contents = Scene(told.state.definition), scene_contents(past, opened)
    asked = ExceptionTold("e", opened, opened, 1, CaseStory())
    (candidate,) = explain_exception(asked, scene, scene, contents).candidates
    assert candidate.failed_condition == 1
    assert candidate.detail not in candidate.sentence
    contents = {place: record(place[1], description="Anna") for place in contents}
    (candidate,) = explain_exception(asked, scene, scene, contents).candidates
    assert (candidate.failed, candidate.failed_condition) == ("condition", None)
    assert candidate.sentence.endswith(f"nearest by rule nearly: {candidate.detail}.")


def test_groups_that_have_to_lie_about_one_source_name_it():
    window = {"min_days": -1, "max_days": 1, "anchor": "source_member"}
    rule = {"name": "sums", "match_type": "many_to_one", "conditions": [REFERENCE], "date": window}
    days = {f"s{day}": f"2026-01-0{day}T12:00:00Z" for day in (4, 5)}
    records = [record(name, "5.00", occurred_at=at) for name, at in days.items()]
    told = Told(rule).take(*records, record("t1", occurred_at="2026-01-06T12:00:00Z")).finish()
    (date,) = told.match().evidence.dates
    assert (date.anchors, date.holds, date.over) == (["s5"], True, None)
    assert date.sentence.endswith(
        "the rule asks for one source in whose window of -1 to 1 days all others lie: s5."
    )


def test_sides_that_lie_about_no_source_are_said_to():
    window = {"min_days": -1, "max_days": 1, "anchor": "source_member"}
    rule = {"name": "sums", "match_type": "many_to_one", "conditions": [REFERENCE], "date": window}
    days = {f"s{day}": f"2026-01-0{day}T12:00:00Z" for day in (3, 7)}
    records = [*(record(name, "5.00", occurred_at=at) for name, at in days.items()), record("t1")]
    told = Told(rule).take(*records)
    legs = (
        [leg for leg in told.state.book.open_legs() if leg.side == 0],
        told.state.book.open_legs()[-1:],
    )
    (date,) = show_dates(told.state.book.rules[0], records[:2], records[2:], legs)
    assert (date.anchors, date.holds) == ([], False)
    assert date.sentence.endswith("all others lie, and there is none.")


def test_a_wait_that_has_ended_is_decided_with_the_next_look():
    told = Told({"name": "pairs", "conditions": [REFERENCE]}, window={"wait": "P1D"})
    told.take(record("s1"))
    told.state.watermark_us = record("s2", occurred_at="2026-01-08T12:00:00Z").occurred_at
    assert (
        "Its wait of 1 day ended at 2026-01-06T12:00:00Z; event time is 2026-01-08T12:00:00Z, and "
        "it is decided with the next look."
    ) in told.transaction("s1").sentences
