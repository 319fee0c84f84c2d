"""The engine against the reference, over generated small worlds of the whole language.

Each world is run at once and in three random orders of arrival, cut into random chunks, with
redeliveries and restarts; where CONTRACT §4.8 promises it, every end has to be the reference's. A
disagreement is made as small as it goes and printed.

    python -m tests.unit.domain.comparison --cases 20000 --seed 0
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from domain.definition_parsing import parse_definition
from domain.definition_plain import definition_to_plain
from domain.definitions import Condition, Definition, Rule
from domain.errors import DefinitionInvalid
from domain.matching import pair_pool
from domain.money import currency_digits, format_minor
from domain.reconciliation import Chunk, Reconciliation
from domain.snapshots import restore, snapshot
from domain.transactions import SIDE_NAMES, Transaction, build_transaction
from tests.unit.domain import reference
from tests.unit.domain.cases import (
    DAY,
    EQUAL,
    EQUALITY,
    MINUTE,
    corrected,
    some_definition,
    some_records,
)
from tests.unit.domain.ledger import Ledger

ORDERS = ("at once", "first order", "second order", "third order")
#: Nothing becomes final before the end while event time trails by so much.
NEVER = 400 * DAY
#: Copied each or not at all.
COPIED = (
    ("reference",), ("counterparty",), ("description",), ("attributes",), ("fee",),
    ("base_amount", "base_currency"), ("fx_rate", "fx_to"), ("occurred_at",),
)  # fmt: skip
OTHER_FIELDS = ("reference", "counterparty", "description", "attributes.batch", "transaction_id")
# Amounts near the most that 18 digits hold, and of currencies with three digits and with four.
WIDE, THREE, FOUR = "wide", "KWD", "UYW"


@dataclass(frozen=True)
class Step:
    """What arrives together, perhaps after a restart."""

    chunk: tuple[Transaction, ...]
    restart: str | None
    caught_up: bool


@dataclass(frozen=True)
class World:
    """What is given, and the seed of the ways it arrives; with `steps`, the one way it does."""

    seed: int
    definition: Definition
    transactions: tuple[Transaction, ...]
    few: int
    order: int | None = None
    steps: tuple[Step, ...] = ()


class Disagreement(Exception):
    """The engine ended otherwise than the reference, or not at all."""


# -- worlds --


def some_world(seed: int) -> World:
    rng = random.Random(seed)
    lateness_us = rng.choice([NEVER, NEVER, NEVER, 0, 10 * MINUTE])
    unique = None if lateness_us != NEVER or rng.random() < 0.2 else False
    definition = some_definition(rng, lateness_us=lateness_us, unique=unique)
    definition = written(with_chances(rng, definition))
    turned = definition.rules[0].amount.opposite == (rng.random() < 0.85)
    transactions = some_arrivals(rng, rng.choice([2, 3, 3, 4, 5, 6, 7, 8, 9]), turned=turned)
    if rng.random() < 0.2:
        transactions += corrected(rng, transactions, rng.randint(1, 3))
    return World(seed, definition, tuple(transactions), rng.choice([pair_pool.FEW, 1]))


def written(definition: Definition) -> Definition:
    """As it is stored and parsed again."""
    return parse_definition(definition_to_plain(definition))


def with_chances(rng: random.Random, definition: Definition) -> Definition:
    """Rules of which some compare like with like, so that they find something, and some do not."""
    rules = []
    for rule in definition.rules:
        conditions = [with_another_field(rng, rule, one) for one in rule.conditions]
        amount = rule.amount
        if rng.random() < 0.6:
            amount = replace(amount, target_basis=amount.source_basis)
            if amount.source_basis != "schedule":
                amount = replace(amount, schedule=None)
        if rng.random() < 0.3:
            amount = replace(amount, source_basis="amount", target_basis="amount", schedule=None)
        rules.append(replace(rule, conditions=tuple(conditions), amount=amount))
    return replace(definition, rules=tuple(rules))


def with_another_field(rng: random.Random, rule: Rule, one: Condition) -> Condition:
    if one.operator not in EQUALITY:
        return replace(one, target_field=one.source_field) if rng.random() < 0.6 else one
    chance = rng.random()
    if one.source_field == rule.whole_key or chance > 0.2:
        return one
    other = rng.choice(OTHER_FIELDS)
    return replace(one, target_field=other) if chance < 0.1 else replace(one, source_field=other)


def some_arrivals(rng: random.Random, count: int, *, turned: bool) -> list[Transaction]:
    """Records of which most are made from others, so that rules find something."""
    flavour = rng.choice([None] * 7 + [WIDE, THREE, FOUR])
    # All of one mould, so that rules find groups, or of several.
    share, one_mould = rng.choice([(0.8, False), (0.95, True), (1.0, True)])
    records: list[tuple[int, dict[str, object]]] = []
    for record in some_records(rng, count):
        if records and rng.random() < share:
            mould = records[0] if one_mould else rng.choice(records)
            records.append(like(rng, mould, records, record[1]))
        else:
            records.append(record)
    if rng.random() < 0.4:
        balance(records)
    transactions = []
    for side, fields in records:
        if turned and side == 1:
            fields["amount"] = str(-Decimal(str(fields["amount"])))
        built = build_transaction(in_flavour(fields, flavour), side, None)
        assert isinstance(built, Transaction), built
        transactions.append(built)
    return transactions


def like(
    rng: random.Random,
    mould: tuple[int, dict[str, object]],
    records: list[tuple[int, dict[str, object]]],
    own: dict[str, object],
) -> tuple[int, dict[str, object]]:
    """A counterpart of records before, or a rival; something of its own stays at times."""
    copied = [names for names in COPIED if rng.random() < 0.95]
    taken = ("currency", *(name for names in copied for name in names))
    fields = {name: value for name, value in own.items() if name not in taken}
    fields |= {name: mould[1][name] for name in taken if name in mould[1]}
    alike = [one for one in records if one[1]["currency"] == fields["currency"]]
    side, of = rng.choice(alike)
    if fields["currency"] == "JPY":
        fields.pop("fee", None)  # of two digits, perhaps
    amount, unit = Decimal(str(of["amount"])), 1 if fields["currency"] == "JPY" else Decimal("0.01")
    change = rng.random()
    if change < 0.3:
        amount += rng.choice([-5, -4, -1, 1, 1, 4, 5]) * unit
    elif change < 0.5:
        others = [
            Decimal(str(other["amount"])) for at, other in alike if at == side and other is not of
        ]
        amount += sum(rng.sample(others, min(len(others), rng.randint(1, 2))))
    elif change < 0.6:
        fee = Decimal(str(of.get("fee", "0")))
        amount -= fee if fields["currency"] != "JPY" else 0
    fields["amount"] = str(amount)
    return (1 - side if rng.random() < 0.85 else side), fields


def balance(records: list[tuple[int, dict[str, object]]]) -> None:
    """Let the last record make both sides of its currency sum to the same."""
    side, last = records[-1]
    sums = [Decimal(0), Decimal(0)]
    for at, fields in records[:-1]:
        if fields["currency"] == last["currency"]:
            sums[at] += Decimal(str(fields["amount"]))
    last["amount"] = str(sums[1 - side] - sums[side])


def in_flavour(fields: dict[str, object], flavour: str | None) -> dict[str, object]:
    """The same record with amounts near 18 digits, or in another currency."""
    amount = Decimal(str(fields["amount"]))
    if flavour == WIDE and fields["currency"] != "JPY":
        most = Decimal(10) ** 16 - 10**6  # sums of sums stay far below a million
        fields["amount"] = str(most + amount if amount > 0 else amount - most)
    elif flavour in (THREE, FOUR) and fields["currency"] == "EUR":
        fields |= {"currency": flavour, "amount": f"{amount + Decimal('0.005')}"}
    return fields


# -- ways to arrive --


def arrangement(world: World, order: int) -> list[Step]:
    """The steps of one way to arrive, redeliveries and restarts included."""
    if world.steps:
        return list(world.steps)
    if order == 0:
        return [Step(world.transactions, None, caught_up=False)]
    rng = random.Random(world.seed * 4 + order)
    arriving = list(world.transactions)
    if world.definition.window.lateness_us == NEVER:
        rng.shuffle(arriving)
    else:
        behind = {id(one): rng.randint(0, 15) * MINUTE for one in arriving}
        arriving.sort(key=lambda one: one.occurred_at + behind[id(one)])
    steps: list[Step] = []
    while arriving:
        size = rng.randint(1, 4)
        chunk, arriving = arriving[:size], arriving[size:]
        if steps and rng.random() < 0.2:
            chunk.append(rng.choice(steps[-1].chunk))
        restart = rng.choice([None, None, None, "from its snapshot", "from its log"])
        steps.append(Step(tuple(chunk), restart, caught_up=rng.random() < 0.8))
    return steps


class Player:
    """One run of the engine, restarted now and then."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.state = Reconciliation(definition)
        self.ledger = Ledger()
        self._log: list[tuple[list, list]] = []

    def take(self, step: Step) -> None:
        if step.restart == "from its snapshot":
            self.state = restore(snapshot(self.state))
        elif step.restart == "from its log":
            self.state = Reconciliation(self.definition)
            for events, journal in self._log:
                self.state.evolve_all(events, journal)
        self._note(self.state.advance(Chunk(list(step.chunk), caught_up=step.caught_up)))

    def finish(self) -> None:
        self._note(self.state.finish())

    def _note(self, decision) -> None:
        self._log.append((decision.events, decision.journal))
        self.ledger.read(decision.events, self.definition)

    def outcome(self) -> reference.Outcome:
        return reference.Outcome(
            self.ledger.confirmed,
            set(self.ledger.suggested.values()),
            self.ledger.duplicates,
            {(leg.side, leg.transaction_id) for leg in self.state.book.exceptions},
        )


def check(world: World, order: int) -> bool:
    """Compare one way to arrive with the reference; say whether it was promised to agree.

    Raises:
        Disagreement: It was, and does not.
    """
    expected = reference.run(world.definition, reference.standing(list(world.transactions)))
    player = Player(world.definition)
    kept, arrived, made_before = True, [], set()
    try:
        for step in arrangement(world, order):
            arrived += step.chunk
            player.take(step)
            made = player.ledger.confirmed
            # Whatever is final has to stand in what all that has come so far gives.
            if kept and (made or made_before):
                now = reference.run(world.definition, reference.standing(distinct(arrived)))
                kept = made <= now.confirmed
            made_before |= made
        duplicates_before = set(player.ledger.duplicates)
        player.finish()
    except Exception as problem:
        raise Disagreement(f"the engine failed: {problem!r}") from problem
    if not kept or duplicates_before - expected.duplicates:
        return False
    found = player.outcome()
    for name in ("confirmed", "suggested", "duplicates", "exceptions"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        if ours != theirs:
            raise Disagreement(
                f"{name}: only the engine has {sorted(ours - theirs)}, "
                f"only the reference has {sorted(theirs - ours)}"
            )
    total = {(one.side, one.transaction_id) for one in reference.standing([*world.transactions])}
    if player.definition.rules and not total >= found.exceptions:
        raise Disagreement(f"exceptions of unknown records: {sorted(found.exceptions - total)}")
    return True


def distinct(transactions: list[Transaction]) -> list[Transaction]:
    return list({(one.side, one.packed): one for one in transactions}.values())


def disagreement(world: World) -> tuple[int, str] | None:
    """The first way to arrive that ends otherwise than promised, and how."""
    before, pair_pool.FEW = pair_pool.FEW, world.few
    try:
        for order in range(len(ORDERS)) if world.order is None else (world.order,):
            try:
                check(world, order)
            except Disagreement as problem:
                return order, str(problem)
    finally:
        pair_pool.FEW = before
    return None


# -- making it small --


def shrunk(world: World) -> World:
    """The smallest world near this one that disagrees, too."""
    found = disagreement(world)
    assert found is not None, "the world agrees"
    steps = arrangement(world, found[0])
    smaller: World | None = replace(world, order=found[0], steps=tuple(steps))
    while smaller is not None:
        world = smaller
        smaller = next((one for one in simpler(world) if disagreement(one)), None)
    return world


def simpler(world: World) -> Iterator[World]:
    for gone in world.transactions:
        rest = tuple(one for one in world.transactions if one is not gone)
        steps = (
            replace(step, chunk=tuple(one for one in step.chunk if one is not gone))
            for step in world.steps
        )
        yield replace(world, transactions=rest, steps=tuple(steps))
    for place, step in enumerate(world.steps):
        before, after = world.steps[:place], world.steps[place + 1 :]
        if not step.chunk:
            yield replace(world, steps=before + after)
        if step.restart:
            yield replace(world, steps=(*before, replace(step, restart=None), *after))
        if step.caught_up:
            yield replace(world, steps=(*before, replace(step, caught_up=False), *after))
    for rules in simpler_rules(world.definition.rules):
        try:
            definition = written(replace(world.definition, rules=rules))
        except DefinitionInvalid:
            continue
        # What parsing fills in again is not simpler.
        if definition.rules != world.definition.rules:
            yield replace(world, definition=definition)


def simpler_rules(rules: tuple[Rule, ...]) -> Iterator[tuple[Rule, ...]]:
    for place, rule in enumerate(rules):
        before, after = rules[:place], rules[place + 1 :]
        if before or after:
            yield before + after
        for number in range(len(rule.conditions)):
            conditions = rule.conditions[:number] + rule.conditions[number + 1 :]
            yield (*before, replace(rule, conditions=conditions), *after)
        for one in (
            replace(rule, date=None),
            replace(rule, amount=EQUAL),
            replace(rule, amount=replace(rule.amount, round=None)),
            replace(rule, amount=replace(rule.amount, opposite=False)),
            replace(rule, settle_us=0),
            replace(rule, outcome="confirm"),
            replace(rule, prefer=rule.prefer[:1]),
            replace(rule, max_size=(rule.max_size or 2) - 1) if rule.max_size else rule,
        ):
            if one != rule:
                yield (*before, one, *after)


def told(world: World) -> str:
    """A disagreement as a person can read it, and run it again."""
    order, problem = disagreement(world) or (0, "agrees")
    plain = definition_to_plain(world.definition)
    lines = [
        f"seed {world.seed}, {ORDERS[order]}, pair_pool.FEW={world.few}",
        f"  {problem}",
        f"window: {json.dumps(plain['window'], default=str)}, zone {world.definition.time_zone}",
        *(f"rule: {json.dumps(rule, default=str)}" for rule in plain["rules"]),
    ]
    for number, step in enumerate(arrangement(world, order)):
        if step.restart:
            lines.append(f"restart {step.restart}")
        lines.append(f"step {number}" + ", all that waits is read" * step.caught_up)
        lines += [f"  {shown(one)}" for one in step.chunk]
    return "\n".join(lines)


def shown(one: Transaction) -> str:
    amount = format_minor(one.amount_minor, currency_digits(one.currency) or 0)
    rest = {
        name: value
        for name in ("reference", "counterparty", "description", "attributes", "extra")
        if (value := getattr(one, name)) is not None
    }
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(one.occurred_at // 1_000_000))
    date = "date " if one.is_date else ""
    side = SIDE_NAMES[one.side]
    return f"{side} {one.transaction_id} {amount} {one.currency} {date}{at} {rest}"


# -- many --


def compare(seeds: range) -> tuple[Counter[str], list[World]]:
    """How many ways were promised to agree, by way, and the worlds that do not."""
    counted: Counter[str] = Counter()
    failed: list[World] = []
    for seed in seeds:
        world = some_world(seed)
        before, pair_pool.FEW = pair_pool.FEW, world.few
        try:
            for order, name in enumerate(ORDERS):
                counted[name] += check(world, order)
        except Disagreement:
            failed.append(world)
        finally:
            pair_pool.FEW = before
        counted["worlds"] += 1
    return counted, failed


def main() -> int:
    parser = argparse.ArgumentParser(description="The engine against the reference.")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began, total, worst = time.monotonic(), Counter[str](), 0
    for first in range(given.seed, given.seed + given.cases, 500):
        counted, failed = compare(range(first, min(first + 500, given.seed + given.cases)))
        total += counted
        worst += len(failed)
        print(f"{total['worlds']:,} worlds, {worst} disagree, {time.monotonic() - began:.0f} s")
        for world in failed[:3]:
            print(told(shrunk(world)), flush=True)
        if worst >= 5:
            break
    print(", ".join(f"{name} {total[name]:,}" for name in ORDERS), "promised and compared")
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
