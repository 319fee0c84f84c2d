"""What people do among arrivals ends where CONTRACT §4.8 says, in any order, over any restart.

The model holds what is final as plain facts: what people matched, what they keep apart, which
matches rules have made. Whenever time has passed, the rules run over everything with these facts
must give what the engine holds.
"""

import random

import pytest

from domain.commands import (
    CannotBeDone,
    ConfirmMatch,
    MatchByHand,
    Pause,
    RejectMatch,
    Resume,
    ReverseMatch,
)
from domain.event_batches import decode_events, encode_plain
from domain.identity import match_id
from domain.matching.legs import Leg, Settled, Superseded
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.snapshots import restore, snapshot
from domain.transactions import supersedes
from tests.unit.domain import reference
from tests.unit.domain.cases import (
    DAY,
    START,
    corrected,
    some_transactions,
    some_written_definition,
)
from tests.unit.domain.ledger import Ledger
from tests.unit.domain.test_reconciliation_folding import facts
from tests.unit.domain.test_reconciliation_properties import in_chunks, open_exceptions

HOUR = 3_600_000_000


class Model:
    def __init__(self, definition) -> None:
        self.definition = definition
        self.records = []
        self.refused = set()
        self.by_people = set()
        self.final = set()
        self.duplicates = set()

    def arrive(self, records) -> None:
        self.records += records
        standing = {(one.side, one.transaction_id) for one in reference.standing(self.records)}
        for matches in (self.by_people, self.final):
            for one in list(matches):
                if not reference.members_of({one}) <= standing or any(
                    record.transaction_id == supersedes(record)
                    and (record.side, record.transaction_id) in reference.members_of({one})
                    for record in records
                ):
                    matches.remove(one)
        self.duplicates &= standing

    def settle(self) -> reference.Outcome:
        outcome = reference.run(
            self.definition,
            reference.standing(self.records),
            frozenset(self.refused),
            frozenset(self.by_people),
            frozenset(self.final),
            frozenset(self.duplicates),
        )
        self.final = outcome.confirmed - self.by_people
        self.duplicates = outcome.duplicates
        return outcome


class Game:
    """An engine, a model beside it, and a reader of the engine's events."""

    def __init__(self, rng, definition) -> None:
        self.rng = rng
        self.definition = definition
        self.state = Reconciliation(definition)
        self.folded = Reconciliation(definition)
        self.ledger = Ledger()
        self.model = Model(definition)
        self.now_us = START + 410 * DAY
        self.commands = 0
        self.done = set()
        self.read(self.state.define(definition, "define"))

    def read(self, decision) -> None:
        self.ledger.read(decision.events, self.definition)
        self.folded.evolve_all(decode_events(encode_plain(decision.events)), decision.journal)
        # Event time is recorded when it decides something or a minute of it has passed.
        self.folded.watermark_us = self.state.watermark_us
        assert facts(self.folded) == facts(self.state)

    def arrive(self, records) -> None:
        for chunk in in_chunks(self.rng, records):
            decision = self.state.advance(Chunk(chunk, now_us=START))
            assert not decision.rejections, decision.rejections
            self.read(decision)
        self.model.arrive(records)

    def restart(self) -> None:
        if self.rng.random() < 0.5:
            self.state = restore(snapshot(self.state))
        else:
            self.state = restore(snapshot(self.folded))
        self.state.last_input_us = START

    def pass_time(self) -> None:
        if self.state.paused:
            assert not self.state.tick(Tick(self.now_us, caught_up=True)).events
            assert self.command(Resume()) is None
        self.now_us += HOUR
        self.state.last_input_us = START
        self.read(self.state.tick(Tick(self.now_us, caught_up=True)))

    def command(self, command):
        self.commands += 1
        try:
            decision = self.state.decide(command, f"command-{self.commands}")
        except CannotBeDone as refusal:
            decision = self.state.refuse(f"command-{self.commands}", "some", refusal)
            self.read(decision)
            return refusal.code
        self.read(decision)
        assert not self.state.decide(command, f"command-{self.commands}").events, "told twice"
        self.done.add(type(command).__name__)
        return None

    def some_command(self) -> None:
        kinds = ["hand"]
        kinds += ["confirm", "part", "reject", "reject"] if self.ledger.suggested else []
        kinds += ["reverse"] if self.ledger.confirmed else []
        kind = self.rng.choice(kinds)
        book, rng = self.state.book, self.rng
        if kind in ("confirm", "part", "reject"):
            standing = sorted(self.ledger.suggested)
            singles = [one for one in standing if book.suggestions[one].single]
            identity = rng.choice(singles if kind == "confirm" and singles else standing)
            rule, sources, targets = self.ledger.suggested[identity]
            if kind == "reject":
                assert self.command(RejectMatch(identity)) is None
                self.model.refused.add((rule, sources, targets))
                return
            part = (list(sources), list(targets))
            if kind == "part":
                part = ([rng.choice(sources)], [rng.choice(targets)])
            single = book.suggestions[identity].single
            code = self.command(
                ConfirmMatch(identity) if kind == "confirm" else ConfirmMatch(identity, *part)
            )
            if kind == "confirm":
                assert code == (None if single else "members_needed")
            if code is None:
                self.model.by_people.add((rule, tuple(part[0]), tuple(part[1])))
        elif kind == "reverse":
            key = rng.choice(sorted(self.ledger.confirmed))
            settled = book.known[0][key[1][0]]
            identity = self.identity(key, settled.newest_ms)
            assert self.command(ReverseMatch(identity, list(key[1]), list(key[2]))) is None
            self.model.final.discard(key)
            self.model.by_people.discard(key)
            self.model.refused.add((None, key[1], key[2]))
        else:
            legs = [[x for x in side.values() if isinstance(x, Leg)] for side in book.known]
            sources = {x.transaction_id for x in rng.sample(legs[0], min(len(legs[0]), 2))}
            targets = {x.transaction_id for x in rng.sample(legs[1], min(len(legs[1]), 1))}
            if sources and targets:
                code = self.command(MatchByHand(sorted(sources), sorted(targets), "because"))
                assert code in (None, "currency_mismatch")
                if code is None:
                    key = ("manual", tuple(sorted(sources)), tuple(sorted(targets)))
                    self.model.by_people.add(key)

    def identity(self, key, newest_ms) -> str:
        return match_id("acme", "orders", key[0], list(key[1]), list(key[2]), newest_ms)

    def check(self, label) -> None:
        expected = self.model.settle()
        assert self.ledger.confirmed == expected.confirmed, label
        assert set(self.ledger.suggested.values()) == expected.suggested, label
        assert self.ledger.duplicates == expected.duplicates, label
        assert open_exceptions(self.state) == expected.exceptions, label
        assert self.ledger.open_cases == expected.exceptions | expected.duplicates, label
        self.check_places(label)

    def check_places(self, label) -> None:
        """Every accepted record is in one place."""
        places = 0
        for side, known in enumerate(self.state.book.known):
            for one in known.values():
                places += len(one.contents) if isinstance(one, Superseded) else 1
            places += sum(map(len, self.state.book.replaced[side].values()))
        assert places == len(self.model.records), label
        in_matches = {
            (side, one)
            for side, known in enumerate(self.state.book.known)
            for one, entry in known.items()
            if isinstance(entry, Settled)
        }
        assert in_matches == self.ledger.taken, label
        assert len(self.ledger.superseded) == len(self.model.records) - len(
            reference.standing(self.model.records)
        )


def play(seed, *, unique):
    rng = random.Random(seed)
    definition = some_written_definition(rng, lateness_us=400 * DAY, unique=unique)
    game = Game(rng, definition)
    records = some_transactions(rng, rng.randint(3, 12), alike=rng.random() < 0.6)
    records += corrected(rng, records, rng.choice([0, 0, 1, 3]))
    rng.shuffle(records)
    while records:
        size = rng.randint(1, len(records))
        game.arrive(records[:size])
        records = records[size:]
        for _ in range(rng.randint(0, 4)):
            if rng.random() < 0.3:
                game.restart()
            if rng.random() < 0.1 and not game.state.paused:
                assert game.command(Pause()) is None
            if rng.random() < 0.7:
                game.some_command()
            if rng.random() < 0.5:
                game.pass_time()
                yield game
    game.pass_time()
    yield game


@pytest.mark.parametrize("block", range(10))
def test_commands_among_arrivals_end_as_the_rules_say_over_the_facts(block):
    done = set()
    for seed in range(block * 150, block * 150 + 150):
        for game in play(seed, unique=False):
            game.check(f"seed={seed} rules={game.definition.rules}")
        done |= game.done
    assert done >= {"ConfirmMatch", "RejectMatch", "ReverseMatch", "MatchByHand", "Pause"}


@pytest.mark.parametrize("block", range(4))
def test_with_a_unique_rule_every_record_keeps_one_place_and_what_is_apart_stays_apart(block):
    """What a unique rule matches at once depends on what had come, so no batch result is at hand.

    That folding and restarts give the same state is held at every step.
    """
    done = set()
    for seed in range(20_000 + block * 150, 20_000 + block * 150 + 150):
        for game in play(seed, unique=True):
            label = f"seed={seed}"
            game.check_places(label)
            apart = {(sources, targets) for _, sources, targets in game.model.refused}
            by_rules = {one for one in game.ledger.confirmed if one[0] != "manual"}
            assert not {one[1:] for one in by_rules - game.model.by_people} & apart, label
            standing = {
                (one.side, one.transaction_id) for one in reference.standing(game.model.records)
            }
            open_now = standing - game.ledger.taken
            suggested = reference.members_of(game.ledger.suggested.values())
            assert game.ledger.open_cases | suggested == open_now, label
            assert not game.ledger.open_cases & suggested, label
        done |= game.done
    assert {"MatchByHand", "ReverseMatch"} <= done
