"""Every explanation agrees with a model that shares nothing with the engine."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from domain.definition_parsing import parse_definition
from domain.definition_plain import definition_to_plain
from domain.events import (
    ExceptionReclassified,
    MatchConfirmed,
    MatchSuggested,
    ReconciliationDefined,
    RecordMatched,
    RecordUnmatched,
)
from domain.explaining.casework import CaseStory
from domain.explaining.evidence import Scene
from domain.explaining.exceptions import ExceptionTold, explain_exception
from domain.explaining.matches import MatchTold, Told, explain_match
from domain.explaining.members import places_of
from domain.explaining.search import ContentSearch, ReadBatch, StorySearch
from domain.explaining.standing import Standing
from domain.explaining.transactions import Outlook, explain_transaction
from domain.matching.legs import DISPOSITIONS, Leg, Settled, Superseded
from domain.reconciliation import Chunk, Reconciliation
from tests.unit.domain import reference
from tests.unit.domain.cases import MINUTE, some_definition, some_limits, some_transactions
from tests.unit.domain.logs import Log, ask, engine_log
from tests.unit.domain.test_reconciliation_properties import in_chunks

WORLDS = range(250)


class Past:
    """A log as a reader of explanations sees it."""

    def __init__(self, log, state) -> None:
        self.log, self.state = log, state
        self.batches, position = [], 1
        for row in log.rows:
            self.batches.append(
                ReadBatch(position, "2026-01-05T00:00:00Z", row.events, row.journal)
            )
            position += len(row.events)
        self.told = [
            Told(event, batch.first_position + place, batch.at)
            for batch in self.batches
            for place, event in enumerate(batch.events)
        ]
        self._definitions = [
            (one.position, parse_definition(one.event.definition, "acme", "orders"))
            for one in self.told
            if isinstance(one.event, ReconciliationDefined)
        ]

    def definition_at(self, position):
        return [one for at, one in self._definitions if at <= position][-1]

    def contents(self, places, position):
        search = ContentSearch(places, position, self.state.book.unpack)
        for batch in reversed(self.batches):
            search.read(batch)
        assert not search.missing, search.missing
        return search.found

    def story(self, place):
        search = StorySearch(place, self.state.book.unpack)
        for batch in reversed(self.batches):
            search.read(batch)
        return search


def alike_log(seed):
    """A world in which most rules find many candidates: matches and suggestions of every type."""
    rng = random.Random(f"alike {seed}")
    definition = some_definition(rng, lateness_us=5 * MINUTE)
    if rng.random() < 0.7:
        rules = [replace(one, amount=some_limits(rng), date=None) for one in definition.rules]
        definition = replace(definition, rules=tuple(rules))
    definition = parse_definition(definition_to_plain(definition))
    state, log = Reconciliation(definition), Log()
    log.add(state.define(definition, "command-1").events)
    transactions = some_transactions(rng, rng.randint(3, 9), alike=rng.random() < 0.7)
    for chunk in in_chunks(rng, transactions):
        decision = state.advance(Chunk(chunk, caught_up=True))
        log.add(decision.events, decision.journal)
        log.add(ask(rng, state).events if rng.random() < 0.4 else [])
    log.add(state.finish().events)
    for _ in range(rng.choice([0, 4])):
        log.add(ask(rng, state).events)
        log.add(state.finish().events)
    return log, state


@pytest.fixture(params=[(one, seed) for one in (engine_log, alike_log) for seed in WORLDS])
def past(request):
    make, seed = request.param
    return Past(*make(seed))


def test_every_match_is_explained_by_conditions_that_all_hold(past):
    for told in past.told:
        event = told.event
        if not isinstance(event, RecordMatched | MatchConfirmed | MatchSuggested):
            continue
        contents = past.contents(places_of(event.source_ids, event.target_ids), told.position)
        definition = past.definition_at(told.position)
        shown = explain_match(MatchTold("m", event, told), Scene(definition), contents)
        assert not shown.missing
        rule = next((one for one in definition.rules if one.name == event.rule), None)
        if rule is None:
            assert event.rule == "manual"
            assert shown.evidence is None
        elif shown.evidence is None:
            assert isinstance(event, MatchSuggested)
            assert not event.single
            pairs_of_the_model(rule, shown, contents)
        else:
            sources = [contents[0, one] for one in event.source_ids]
            targets = [contents[1, one] for one in event.target_ids]
            assert reference.group_holds(rule, sources, targets)
            holds_throughout(shown.evidence)
            # A person may have rejected or reversed these very members in between.
            assert shown.evidence.holds


def holds_throughout(evidence):
    parts = [*evidence.conditions, evidence.amount, *evidence.dates]
    assert all(part.holds for part in parts), [one.sentence for one in parts if not one.holds]
    assert evidence.amount.over is None
    assert all(one.score == 1 or one.operator in ("similarity", "edit_distance")
               for one in evidence.conditions)  # fmt: skip


def pairs_of_the_model(rule, shown, contents):
    if rule.match_type != "one_to_one":
        assert not shown.possible
        return
    told = {(one.source_id, one.target_id) for one in shown.possible}
    fitting = {
        (s, t)
        for (side, s), one in contents.items()
        for (other_side, t), other in contents.items()
        if side == 0 and other_side == 1 and reference.group_holds(rule, [one], [other])
    }
    assert told <= fitting
    assert len(told) == min(len(fitting), 20)
    for one in shown.possible:
        holds_throughout(one.evidence)


def test_every_candidate_fails_exactly_at_the_condition_that_is_named(past):
    for told, scene, exception in exceptions_of(past):
        contents = scene_contents(past, told)
        shown = explain_exception(exception, scene, scene, contents)
        assert not shown.missing
        assert shown.reason == told.event.reason
        mine = contents[told.event.side, told.event.transaction_id]
        for candidate in shown.candidates:
            rule = next(one for one in scene.definition.rules if one.name == candidate.rule)
            other = contents[1 - told.event.side, candidate.transaction_id]
            pair = (mine, other) if told.event.side == 0 else (other, mine)
            fails_there_by_the_model(rule, candidate, *pair)
            again, _ = scene.first_failure(scene.rule(rule.name), *pair)
            assert candidate.failed in (again, "refused")
            assert candidate.failed == again or again == "ambiguous"


def exceptions_of(past):
    opened = {}
    for told in past.told:
        if isinstance(told.event, RecordUnmatched):
            opened[told.event.side, told.event.transaction_id] = told
        if isinstance(told.event, RecordUnmatched | ExceptionReclassified):
            opening = opened[told.event.side, told.event.transaction_id]
            yield (
                told,
                Scene(past.definition_at(told.position)),
                ExceptionTold("e", opening, told, 1, CaseStory()),
            )


def scene_contents(past, told):
    event = told.event
    places = [(event.side, event.transaction_id)]
    places += [(one.side, one.transaction_id) for one in event.candidates]
    return past.contents(places, told.position)


def fails_there_by_the_model(rule, candidate, source, target):
    """Held by the model: all that is asked before holds, and what is named does not."""
    shown, is_pair = candidate.evidence, rule.match_type == "one_to_one"
    for place, condition in enumerate(rule.conditions):
        values = (
            reference.field_value(source, condition.source_field),
            reference.field_value(target, condition.target_field),
        )
        assert shown.conditions[place].holds == reference.text_holds(condition, *values)
    if candidate.failed == "condition":
        assert not shown.conditions[candidate.failed_condition].holds
        # Equality is asked before what looks at both texts.
        order = sorted(
            range(len(rule.conditions)),
            key=lambda place: rule.conditions[place].operator not in reference.EQUALITY,
        )
        before = order[: order.index(candidate.failed_condition)]
        assert all(shown.conditions[place].holds for place in before)
        return
    assert all(one.holds for one in shown.conditions)
    ours, theirs = (reference.compared(rule.amount, one) for one in (source, target))
    if candidate.failed == "currency":
        assert ours[0] != theirs[0]
        return
    if candidate.failed == "amount" and is_pair:
        assert not reference.amounts_agree(rule.amount, [source], [target])
        assert not shown.amount.holds
        assert shown.amount.over is not None or None in (ours, theirs)
        return
    if candidate.failed == "amount" and None in (ours, theirs):
        return
    assert ours[0] == theirs[0]
    in_window = rule.date is None or reference.in_window(rule.date, source, target)
    if candidate.failed == "date":
        assert not in_window
        assert not all(one.holds for one in shown.dates)
        return
    # By itself a pair has its one source as its anchor; of a larger group another may be it.
    assert in_window or (rule.date.anchored and rule.match_type in ("many_to_one", "many_to_many"))
    assert candidate.failed in ("ambiguous", "refused") or not is_pair
    if is_pair:
        assert reference.amounts_agree(rule.amount, [source], [target])


def test_every_transaction_stands_where_the_engine_has_it(past):
    state = past.state
    for side, known in enumerate(state.book.known):
        for transaction_id, one in known.items():
            place = (side, transaction_id)
            if isinstance(one, Superseded) and not one.contents:
                continue  # only its correction has come
            search = past.story(place)
            story, accepted = search.story[::-1], search.accepted[::-1]
            standing = Standing(place, "acme", "orders")
            for told in story:
                standing.fold(told)
            assert standing.disposition == disposition_of(one), (place, story)
            if standing.disposition == "suggested":
                assert set(standing.suggestions) == set(one.suggestions)
            outlook = Outlook(Scene(state.definition), state.watermark_us, state.paused)
            shown = explain_transaction(standing, accepted, story, outlook)
            assert shown.standing in shown.sentences[0]
            assert (shown.waits_until is not None) == (shown.standing == "pending")
            if not isinstance(one, Superseded):
                stands = accepted[-1].transaction.packed
                assert stands in packed_of(one, side), "another content than the engine's"
            assert all(a.position <= b.position for a, b in pairwise(shown.story))


def disposition_of(known):
    if isinstance(known, Leg):
        return DISPOSITIONS[known.disposition]
    if isinstance(known, Settled):
        return "matched"
    return "superseded" if isinstance(known, Superseded) else "duplicate"


def packed_of(known, side):
    if isinstance(known, Leg):
        return [known.packed]
    return known.packed(side) if isinstance(known, Settled) else [known]
