"""Small worlds for the properties of matching: few values, so that everything collides."""

import random
from decimal import Decimal

from domain.definition_parsing import parse_definition
from domain.definition_plain import definition_to_plain
from domain.definitions import (
    AmountRule,
    Condition,
    DateWindow,
    Definition,
    Rule,
    Severity,
    SideSpec,
    Window,
)
from domain.transactions import Transaction, build_transaction, supersedes

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
START = 1_767_571_200 * SECOND  # 2026-01-05T00:00:00Z

EQUAL = AmountRule("equal", None, None, "source", "larger", None, None, True)


def some_amount(rng: random.Random) -> AmountRule:
    kind = rng.choice(["equal", "equal", "absolute", "percent", "both", "bounds"])
    inclusive = rng.random() < 0.7
    absolute = rng.choice([Decimal("0.01"), Decimal("0.05"), Decimal("0.005")])
    percent = rng.choice([Decimal(1), Decimal("3.5"), Decimal("0.9")])
    of = rng.choice(["source", "target", "larger", "smaller", "average"])
    combine = rng.choice(["larger", "smaller"])
    if kind == "equal":
        return EQUAL
    if kind == "bounds":
        low = rng.choice([Decimal("-0.05"), Decimal(0), Decimal("0.01")])
        return AmountRule(
            "bounds", None, None, "source", "larger", low, low + Decimal("0.04"), inclusive
        )
    return AmountRule(
        "tolerance",
        absolute if kind != "percent" else None,
        percent if kind != "absolute" else None,
        of,
        combine,
        None,
        None,
        inclusive,
    )


def some_rule(rng: random.Random, index: int, *, unique: bool) -> Rule:
    fields = rng.choice(
        [
            ["reference"],
            ["reference"],
            ["reference", "counterparty"],
            ["attributes.batch"],
            [],
        ]
    )
    match_type = rng.choice(
        ["one_to_one", "one_to_one", "one_to_one", "one_to_many", "many_to_one"]
    )
    if unique:
        match_type = "one_to_one"
        fields = fields or ["reference"]
    conditions = tuple(
        Condition(
            name,
            name,
            rng.choice(["exact", "casefold", "alphanumeric"]),
            unique and place == 0,
        )
        for place, name in enumerate(fields)
    )
    whole_key = None
    if match_type != "one_to_one":
        if not conditions:
            match_type = "one_to_one"
        else:
            whole_key = conditions[0].source_field
    date = None
    if rng.random() < 0.3:
        low = rng.choice([None, -1, 0])
        high = rng.choice([0, 1, 2] if low is None else [None, 0, 1, 2])
        narrow = low is not None and high is not None and high - low < 2
        date = DateWindow(
            low, high, rng.choice(["UTC", "Asia/Tokyo"]), narrow or rng.random() < 0.8
        )
    return Rule(
        f"rule-{index}",
        match_type,
        conditions,
        some_amount(rng),
        date,
        whole_key,
        "lowest_id" if unique else rng.choice(["suggest", "leave_unmatched", "lowest_id"]),
        rng.choice([0, 0, 5 * MINUTE]),
        unique,
        rng.choice(["confirm", "confirm", "suggest"]),
    )


def some_definition(
    rng: random.Random, *, lateness_us: int, unique: bool | None = None
) -> Definition:
    count = rng.choice([1, 1, 2, 2, 3])
    first_unique = rng.random() < 0.25 if unique is None else unique
    rules = tuple(
        some_rule(rng, index, unique=first_unique and index == 0) for index in range(count)
    )
    return Definition(
        "acme",
        "orders",
        "Orders",
        SideSpec(None, {}),
        SideSpec(None, {}),
        rng.choice(["UTC", "Europe/Vienna"]),
        Window(rng.choice([3 * DAY, 20 * MINUTE]), lateness_us, 30 * SECOND, 14 * DAY),
        rules,
        Severity(Decimal(100), Decimal(1000), Decimal(10_000), 30 * DAY),
        {},
    )


def some_records(rng: random.Random, count: int) -> list[tuple[int, dict[str, object]]]:
    """(side, fields) of that many records, ids unique."""
    records = []
    for number in range(count):
        minute = rng.randint(0, 60)
        occurred = (
            f"2026-01-0{rng.randint(5, 6)}"
            if rng.random() < 0.1
            else f"2026-01-05T{12 + minute // 60:02d}:{minute % 60:02d}:{rng.randint(0, 59):02d}Z"
        )
        fields: dict[str, object] = {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": f"{rng.choice('abc')}{number}",
            "amount": rng.choice(["1.00", "1.00", "1.01", "1.02", "1.05", "2.00", "2.01", "3.02"]),
            "currency": rng.choice(["EUR", "EUR", "EUR", "USD"]),
            "occurred_at": occurred,
        }
        for name, values in (
            ("reference", ["R-1", "r1", "R-2", "R3"]),
            ("counterparty", ["Ann", "ann", "Bob"]),
        ):
            if rng.random() < 0.85:
                fields[name] = rng.choice(values)
        if rng.random() < 0.8:
            fields["attributes"] = {"batch": rng.choice(["x", "y"])}
        records.append((rng.randint(0, 1), fields))
    return records


def some_transactions(rng: random.Random, count: int) -> list[Transaction]:
    """That many valid transactions, ids unique."""
    transactions = []
    for side, fields in some_records(rng, count):
        built = build_transaction(fields, side, None)
        assert isinstance(built, Transaction), built
        transactions.append(built)
    return transactions


def some_written_definition(
    rng: random.Random, *, lateness_us: int, unique: bool | None = None
) -> Definition:
    """A definition with the written form that is stored and parsed again."""
    definition = some_definition(rng, lateness_us=lateness_us, unique=unique)
    return parse_definition(definition_to_plain(definition))


def corrected(rng: random.Random, transactions: list[Transaction], count: int) -> list[Transaction]:
    """Corrections of that many of them: under a new id, under the same, or of a correction."""
    corrections: list[Transaction] = []
    own_id: set[tuple[int, str]] = set()
    for number in range(count):
        of = rng.choice([*transactions, *corrections])
        key = (of.side, of.transaction_id)
        same_id = rng.random() < 0.3 and key not in own_id and supersedes(of) is None
        if same_id:
            own_id.add(key)
        _, fields = some_records(rng, 1)[0]
        fields |= {
            "transaction_id": of.transaction_id if same_id else f"k{number}",
            "supersedes": of.transaction_id,
            "description": f"corrected {number}",
        }
        if of.reference is not None and rng.random() < 0.7:
            fields["reference"] = of.reference
        built = build_transaction(fields, of.side, None)
        assert isinstance(built, Transaction), built
        corrections.append(built)
    return corrections
