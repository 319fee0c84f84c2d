"""What time forgets, it forgets the same in memory, frozen, restored and folded: and never by half.

Few values and a week of days, so that matches are of several days, are reversed, corrected to other
days and made anew while the oldest of it is forgotten.
"""

import random
from collections import Counter

import msgspec
import pytest

from connectors.postgres.journal import decode_journal
from domain.commands import StartRun
from domain.definition_parsing import parse_definition
from domain.freezing.selecting import Matches, take_pairs
from domain.instants import instant_text
from domain.matching.closed import DAY_US
from domain.matching.forgetting import forget_before
from domain.matching.legs import Leg, Settled
from domain.matching.unique_pool import UniquePool
from domain.reconciliation import Chunk, Reconciliation
from domain.snapshots import restore, snapshot
from domain.transactions import build_transaction
from domain.verification.anchors import read_anchor
from domain.verification.difference import Difference
from domain.verification.letters import Letters
from domain.verification.stream import StreamAudit
from tests.unit.domain.cases import DAY, START
from tests.unit.domain.logs import Log, audit, log_of, reversal
from tests.unit.domain.test_reconciliation_folding import facts
from tests.unit.domain.test_runs import DEFINITION, HOUR, World
from tests.unit.test_freezing import Twins, decided


def rule(field: str, **more: object) -> dict[str, object]:
    condition = {"field": field, "operator": "exact", **more}
    return {"name": field, "match_type": "one_to_one", "conditions": [condition]}


UNIQUE = rule("reference", unique=True)
REMEMBER = ("P7D", "P7D", "P9D")


def whole_and_listed(book):
    """No match is known in part, and whatever is closed is listed where it will be forgotten."""
    listed = {
        day: [{*closed.ids[side], *closed.pairs.ids[side]} for side in (0, 1)]
        for day, closed in book.closed.days.items()
    }
    for side, ids in enumerate(book.known):
        for one, entry in ids.items():
            if isinstance(entry, Leg):
                continue
            day = book.day_of(side, one)
            assert day is not None
            assert one in listed[day][side]
            if isinstance(entry, Settled):
                assert all(
                    book.known[of_side].get(book.unpack(packed).transaction_id) is entry
                    for of_side in (0, 1)
                    for packed in entry.packed(of_side)
                ), one
    for closed in book.closed.days.values():
        pairs = closed.pairs
        for key, *ids, settled in zip(pairs.keys, *pairs.ids, pairs.settled, strict=True):
            if settled not in closed.undone:
                assert [book.known[side].get(ids[side]) for side in (0, 1)] == [settled] * 2
                assert [book.pools[0].spent_by(side, key) for side in (0, 1)] == ids
    for index, pool in enumerate(book.pools):
        for side in (0, 1):
            for _, holder in pool.spent(side) if isinstance(pool, UniquePool) else ():
                assert isinstance(book.known[side].get(holder), Settled), (index, holder)


class Weeks(Twins):
    """The twins, one that is restored from a snapshot now and then, and one that knows no pairs."""

    def __init__(self, rng):
        super().__init__(rng)
        self.snapped = Reconciliation(self.definition)
        self.singly = Reconciliation(self.definition)
        # In some worlds values are brought again all the time, in others hardly ever.
        self.values_are_few = rng.random() < 0.6
        self.at = START
        self.records = 0
        self.sent = []
        self.brought = []
        self.accepted = set()
        self.log = Log()
        self.define()

    def some_definition(self):
        rules = [UNIQUE] + ([rule("counterparty")] if self.rng.random() < 0.4 else [])
        window = {"wait": self.rng.choice(["P1D", "PT2H"]), "remember": self.rng.choice(REMEMBER)}
        window = {**DEFINITION["window"], **window}
        return parse_definition({**DEFINITION, "rules": rules, "window": window})

    def step(self, touched, decide):
        decided(decide, self.snapped)
        self.singly.book.closed.spread()
        decision = decided(decide, self.singly)
        self.log.add(decision.events, decision.journal)
        twice = self.accepted.intersection(decision.journal)
        assert not twice, f"accepted a second time: {twice}"
        self.accepted.update(decision.journal)
        super().step(touched, decide)
        assert facts(self.snapped) == facts(self.singly) == facts(self.plain)
        for state in (self.plain, self.snapped, self.singly, self.recalled):
            whole_and_listed(state.book)
        self.seen["forgotten"] += self.plain.book.kept_from > 0

    def some_record(self):
        rng, more = self.rng, {}
        if rng.random() < 0.1 and (again := self.still_taken()):
            self.seen["redelivered"] += 1
            return rng.choice(again[:20])
        side, value = rng.choice([0, 1]), rng.choice("ABCDEFG")
        known = [name for of_side, name in self.sent if of_side == side][-8:]
        name = f"{'st'[side]}{self.records}"
        choice = rng.random()
        if not self.values_are_few:
            # One after the other makes a pair, if the first has not corrected itself once more.
            if self.sent and choice < 0.1:
                self.records -= 1
                more = {"supersedes": self.sent[-1][1]}
            value, side = divmod(self.records, 2)
            name = f"{'st'[side]}{self.records}"
        elif known and choice < 0.35:
            prior = rng.choice(known)
            name = prior if choice < 0.18 else name
            more = {"supersedes": prior} if choice > 0.08 else {}
        elif choice < 0.4:
            more = {"supersedes": f"{'st'[side]}{self.records + rng.randint(1, 5)}"}
        self.records += 1
        self.sent.append((side, name))
        at = self.at + rng.choice([0, 0, 0, -DAY, -2 * DAY, DAY]) + rng.randint(0, 20) * HOUR
        fields = {
            "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": name,
            "amount": "10.00", "currency": "EUR", "occurred_at": instant_text(at),
            "reference": f"R{value}", "counterparty": rng.choice("xyz"), **more,
        }  # fmt: skip
        self.brought.append(build_transaction(fields, side, self.now_us + DAY))
        return self.brought[-1]

    def still_taken(self):
        """What was brought and is not too old yet, the oldest first."""
        book = self.plain.book
        dated = [(book.event_time(one), place) for place, one in enumerate(self.brought)]
        return [self.brought[place] for at, place in sorted(dated) if at >= book.kept_from * DAY]

    def reverse_one(self):
        book = self.plain.book
        matches = {id(one): one for one in book.known[0].values() if type(one) is Settled}
        if matches:
            self.seen["reversed"] += 1
            self.command(reversal(self.plain, self.rng.choice(list(matches.values()))))

    def play(self, steps):
        for _ in range(steps):
            choice = self.rng.random()
            if choice < 0.6:
                some = [self.some_record() for _ in range(self.rng.randint(1, 5))]
                self.take_in(Chunk(some, now_us=self.now_us, caught_up=True))
            elif choice < 0.72:
                self.at += self.rng.choice([HOUR, DAY, DAY, 3 * DAY])
                self.now_us = self.at + DAY
                for state in (self.plain, self.snapped, self.singly, self.frozen.state):
                    state.last_input_us = self.now_us - HOUR
                self.pass_time()
            elif choice < 0.84:
                self.reverse_one()
            elif choice < 0.86:
                self.define()
            elif choice < 0.88:
                begin = self.at - 2 * DAY
                self.command(StartRun(instant_text(begin), instant_text(begin + 2 * DAY)))
            else:
                self.restore_one(choice)

    def restore_one(self, choice):
        if choice < 0.92:
            at = self.snapped.last_input_us
            self.snapped = restore(snapshot(self.snapped))
            self.snapped.last_input_us = at
        elif choice < 0.96:
            at = self.frozen.state.last_input_us
            self.frozen.restart()
            self.frozen.state.last_input_us = at
        else:
            self.folded.restart()
            self.recalled = restore(snapshot(self.recalled))


@pytest.mark.parametrize("block", range(5))
def test_all_forget_the_same_and_no_match_by_half(block):
    seen = Counter()
    for seed in range(block * 25, block * 25 + 25):
        weeks = Weeks(random.Random(seed))
        try:
            weeks.play(random.Random(seed).randint(10, 60))
            weeks.check()
            audit(weeks.log)
        except (AssertionError, LookupError, Difference) as problem:
            raise AssertionError(f"seed={seed}") from problem
        seen += weeks.seen
    assert seen["forgotten"] > 25
    assert seen["reversed"] > 25
    assert seen["redelivered"] > 25


def test_members_of_a_match_are_forgotten_together_with_the_newest():
    world = World(rules=[UNIQUE])
    world.send(("s1", "A", START), ("t1", "A", START + 2 * DAY))
    world.until(START + 8 * DAY)
    known = world.state.book.known
    assert set(known[0]) | set(known[1]) == {"s1", "t1"}
    again = world.send(("s1", "A", START))
    assert [type(event).__name__ for event in again if "Accepted" in type(event).__name__] == []
    world.until(START + 10 * DAY)
    assert not known[0]
    assert not known[1]
    assert not world.state.book.pools[0].table


def known_ids(state):
    return [sorted(ids) for ids in state.book.known]


def test_what_time_forgets_unrecorded_a_fold_would_not_know_of():
    """Event time passes midnight by less than it takes to be recorded; then an id comes anew."""
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s1", "A", START), ("t1", "A", START), ("s0", "Z", START + 3 * DAY))
    midnight = START // DAY * DAY + 8 * DAY
    for seconds in (-20, 20):
        world.until(midnight + seconds * 1_000_000)
    assert world.state.recorded_watermark_us < midnight < world.state.watermark_us
    assert known_ids(world.folded()) == known_ids(world.state)
    world.send(("s1", "B", midnight + HOUR), ("t2", "B", midnight + HOUR))
    assert known_ids(world.folded()) == known_ids(world.state)


def test_a_jump_of_time_forgets_what_it_closes_only_after_it_is_closed():
    world = World(rules=[rule("reference")], time_zone="UTC")
    world.send(("s1", "A", START), ("t1", "A", START))
    jump = START + 9 * DAY
    world.send(("s8", "X", jump), ("t8", "Y", jump))
    assert known_ids(world.state) == known_ids(world.folded()) == [["s8"], ["t8"]]
    world.send(("s1", "B", jump), ("t2", "B", jump))
    assert known_ids(world.folded()) == known_ids(world.state)


def test_what_was_forgotten_is_too_old_also_once_more_is_remembered():
    world = World(rules=[UNIQUE], time_zone="UTC")
    pair = ("s1", "A", START), ("t1", "A", START)
    world.send(*pair)
    world.until(START + 9 * DAY)
    longer = {**DEFINITION, "rules": [UNIQUE], "time_zone": "UTC"}
    longer["window"] = {**DEFINITION["window"], "remember": "P14D"}
    world.kept(world.state.define(parse_definition(longer), "define-2"))
    world.send(*pair)
    assert [one.code for one in world.decisions[-1].rejections] == ["too_old"] * 2
    assert not world.decisions[-1].journal
    world.send(("s1", "B", START + 9 * DAY))
    assert world.decisions[-1].journal
    audit(log_of(world.decisions))


def test_a_snapshot_that_knows_a_match_in_part_has_it_forgotten():
    """As they were written while ids were forgotten one by one."""
    world = World(rules=[UNIQUE])
    world.send(("s1", "A", START), ("t1", "A", START + 2 * DAY))
    fields = msgspec.msgpack.decode(snapshot(world.state))
    (of_day,) = fields[13]
    assert (of_day[1], of_day[2]) == ([["s1"], ["t1"]], [[0], [0]])
    of_day[1][0].clear()
    of_day[2][0].clear()
    of_day[3] = [[place, *([] for _ in used)] if place == 0 else [place, *used]
                 for place, *used in of_day[3]]  # fmt: skip
    state = restore(msgspec.msgpack.encode(fields))
    assert known_ids(state) == [[], []]
    assert not state.book.pools[0].table


@pytest.mark.parametrize("closed", ["match", "duplicate", "superseded"])
def test_a_log_that_accepts_a_closed_id_anew_had_forgotten_it(closed):
    world = World(rules=[UNIQUE])
    world.send(("s1", "A", START), ("s2", "A", START), ("t1", "A", START + 2 * DAY))
    if closed == "superseded":
        world.send(("s4", "A", START), more={"supersedes": "s2"})
    anew = World(rules=[UNIQUE])
    anew.send(("s1" if closed == "match" else "s2", "B", START + 3 * DAY))
    state = world.folded()
    state.evolve_all(anew.decisions[-1].events, anew.decisions[-1].journal)
    known = state.book.known
    if closed == "match":
        assert isinstance(known[0]["s1"], Leg)
        assert "t1" not in known[1]
        assert state.book.pools[0].table == {"B": known[0]["s1"]}
    else:
        assert isinstance(known[0]["s2"], Leg)
        assert isinstance(known[0]["s1"], Settled)
        assert not state.book.pools[0].aside or closed == "superseded"
        assert state.book.days[0].keys() == {"s4"} & known[0].keys()


def test_a_pair_that_a_log_had_forgotten_takes_nothing_with_it_on_its_day():
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s1", "A", START))
    world.send(("t1", "A", START))
    anew = World(rules=[UNIQUE])
    anew.send(("s1", "B", START + 3 * DAY))
    state = world.folded()
    assert any(closed.pairs.keys for closed in state.book.closed.days.values())
    state.evolve_all(anew.decisions[-1].events, anew.decisions[-1].journal)
    forget_before(state.book, START + 2 * DAY)
    assert known_ids(state) == [["s1"], []]


def test_what_is_a_pair_and_stands_by_its_id_is_frozen_once():
    """It was closed before, and let go of since."""
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s1", "A", START))
    world.send(("t1", "A", START))
    world.send(("t1", "Z", START), more={"supersedes": "t1"})
    snapshot(world.state)
    world.send(("t2", "A", START))
    book = world.state.book
    (closed,) = book.closed.days.values()
    assert "s1" in closed.ids[0]
    assert closed.pairs.ids == (["s1"], ["t2"])
    assert len(Matches(book, []).take(10).entries) == 1
    assert not take_pairs(book, START // DAY_US, closed, 10).entries
    assert known_ids(world.state) == [[], ["t1"]]


def test_what_had_corrected_itself_is_not_forgotten_for_what_it_corrects():
    world = World(rules=[UNIQUE])
    world.send(("s1", "K", START), more={"supersedes": "s1"})
    world.send(("t1", "K", START))
    world.send(("s1", "A", START - HOUR))
    assert isinstance(world.folded().book.known[0]["s1"], Settled)
    assert known_ids(world.folded()) == known_ids(world.state)


def test_what_a_log_had_forgotten_is_no_rival_either():
    rules = [rule("reference"), {**rule("counterparty"), "settle": "immediate"}]
    world = World(rules=rules)
    world.send(("s1", "A", START), more={"counterparty": "x"})
    world.send(("t1", "B", START), more={"counterparty": "x"})
    world.until(START + 2 * DAY)
    state = world.folded()
    assert state.book.known[0]["s1"].rule == "counterparty"
    assert {leg.transaction_id for leg in state.book.closed.rivals()} == {"s1", "t1"}
    anew = World(rules=rules)
    anew.send(("s1", "C", START + 3 * DAY))
    state.evolve_all(anew.decisions[-1].events, anew.decisions[-1].journal)
    assert state.book.closed.rivals() == []
    assert [leg.transaction_id for leg in state.book.open_legs()] == ["s1"]
    assert "t1" not in state.book.known[1]


def test_verification_takes_back_that_an_id_was_forgotten():
    """Its time is over but its day is not, so the flow knows it still: what comes is only late."""
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s1", "K", START), more={"supersedes": "s1"})
    world.send(("t1", "K", START))
    world.until(START + 7 * DAY + 3 * HOUR)
    late = world.send(("s1", "A", START + 4 * HOUR))
    assert [type(event).__name__ for event in late[:2]] == [
        "TransactionsAccepted", "TransactionSuperseded"
    ]  # fmt: skip
    world.ask(reversal(world.state, world.state.book.known[0]["s1"]))
    audit(log_of(world.decisions))


@pytest.mark.parametrize("matched", [True, False])
@pytest.mark.parametrize("expired_later", [True, False])
def test_an_id_that_came_anew_is_verified_without_its_journal_too(matched, expired_later):
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s1", "A", START), ("t1", "A", START))
    world.send(("s2", "A", START))
    later = START + 9 * DAY
    world.until(later)
    kept = snapshot(world.state)
    world.send(("s2", "B", later))
    if matched:
        world.send(("t2", "B", later))
    world.until(later + 3 * DAY)
    if expired_later:
        kept = snapshot(world.state)
    world.send(("s3", "C", later + 3 * DAY))
    log = log_of(world.decisions)
    anchor = read_anchor(kept, "acme", "orders")
    of_stream = StreamAudit("acme", "orders", decode_journal, Letters([]), anchor=anchor)
    for batch in log.batches():
        expired = batch.base_version < anchor.version
        of_stream.read(batch._replace(journal=None) if expired else batch)
    assert of_stream.end(of_stream.version, {}).version == of_stream.version
