"""Small worlds for the properties of matching: few values, so that everything collides."""

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

from domain.definition_parsing import parse_definition
from domain.definition_plain import definition_to_plain
from domain.definitions import (
    AmountRule,
    Condition,
    DateWindow,
    Definition,
    Fee,
    Preference,
    Rounding,
    Rule,
    Schedule,
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


def some_rounding(rng: random.Random) -> Rounding:
    return Rounding(rng.choice([0, 1, 1, 2, 3]), rng.choice(["half_up", "half_even"]))


def some_schedule(rng: random.Random) -> Schedule:
    fees = [
        Fee(rng.choice([Decimal("1.5"), Decimal("0.335"), Decimal(50)]), None)
        if rng.random() < 0.6
        else Fee(None, rng.choice([Decimal("0.01"), Decimal("0.3"), Decimal("0.005")]))
        for _ in range(rng.randint(1, 3))
    ]
    return Schedule(
        rng.choice(["parallel", "cascading"]),
        rng.choice([None, some_rounding(rng)]),
        tuple(fees),
    )


def some_amount(rng: random.Random) -> AmountRule:
    rule = some_limits(rng)
    if rng.random() < 0.5:
        return rule
    bases = ["amount", "amount", "net", "gross", "fx", "base", "schedule"]
    source, target = rng.choice(bases), rng.choice(bases)
    return replace(
        rule,
        round=some_rounding(rng) if rng.random() < 0.4 else None,
        source_basis=source,
        target_basis=target,
        schedule=some_schedule(rng) if "schedule" in (source, target) else None,
        opposite=rng.random() < 0.3,
    )


def some_limits(rng: random.Random) -> AmountRule:
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


EQUALITY = ("exact", "casefold", "alphanumeric", "digits")
PATTERN = r"(?i)\b(R-?\d)\b"


def some_equality(rng: random.Random, field: str, *, unique: bool) -> Condition:
    if field == "reference" and rng.random() < 0.15:
        return Condition(field, "description", "regex_extract", unique, pattern=PATTERN)
    return Condition(field, field, rng.choice(EQUALITY), unique)


def some_text_condition(rng: random.Random) -> Condition:
    source = rng.choice(["reference", "counterparty", "description"])
    target = rng.choice(["description", "description", source])
    operator = rng.choice(["token_run", "token_set", "edit_distance", "similarity"])
    return Condition(
        source,
        target,
        operator,
        unique=False,
        maximum=rng.choice([0, 1, 2, 4]) if operator == "edit_distance" else None,
        minimum=rng.choice([Decimal("0.5"), Decimal("0.667"), Decimal("0.8"), Decimal(1)])
        if operator == "similarity"
        else None,
    )


def some_window(rng: random.Random) -> DateWindow:
    zone = rng.choice(["UTC", "Asia/Tokyo", "America/New_York"])
    seconds = rng.choice([60, 600, 1800, 0]) if rng.random() < 0.4 else None
    anchored = rng.random() < 0.4
    if seconds is not None and rng.random() < 0.6:
        inclusive = seconds == 0 or rng.random() < 0.8
        return DateWindow(None, None, zone, inclusive, max_seconds=seconds, anchored=anchored)
    low = rng.choice([None, -1, 0, 1])
    high = rng.choice([0, 1, 2] if low is None else [None, 1, 2])
    narrow = seconds == 0 or (low is not None and high is not None and high - low < 2)
    business = rng.random() < 0.4
    return DateWindow(
        low,
        high,
        zone,
        narrow or rng.random() < 0.8,
        business,
        (date(2026, 1, 6),) if business and rng.random() < 0.5 else (),
        seconds,
        anchored,
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
        ["one_to_one", "one_to_one", "one_to_one", "one_to_many", "many_to_one", "many_to_many"]
    )
    if unique:
        match_type = "one_to_one"
        fields = fields or ["reference"]
    conditions = [
        some_equality(rng, name, unique=unique and place == 0) for place, name in enumerate(fields)
    ]
    whole_key = max_size = None
    if match_type != "one_to_one":
        if conditions and rng.random() < 0.4:
            whole_key = conditions[0].source_field
        else:
            max_size = rng.choice([1, 2, 3, 4])
    selection = rng.choice(["suggest", "leave_unmatched", "lowest_id", "prefer"])
    window = some_window(rng) if rng.random() < 0.4 else None
    if rng.random() < 0.35:
        place = rng.randint(0, len(conditions))
        conditions.insert(place, some_text_condition(rng))
    return Rule(
        f"rule-{index}",
        match_type,
        tuple(conditions),
        some_amount(rng),
        window,
        whole_key,
        "lowest_id" if unique else selection,
        rng.choice([0, 0, 5 * MINUTE]),
        unique,
        max_size,
        some_preferences(rng) if selection == "prefer" and not unique else (),
        rng.choice(["confirm", "confirm", "suggest"]),
    )


def some_preferences(rng: random.Random) -> tuple[Preference, ...]:
    names = ["fewest_members", "closest_amount", "closest_date", rng.choice(["oldest", "newest"])]
    return tuple(rng.sample(names, rng.randint(1, 4)))


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


AMOUNTS = ["1.00", "1.00", "1.01", "1.02", "1.05", "2.00", "2.01", "3.02", "-1.00", "-1.01"]


def fee_fits(fields: dict[str, object]) -> bool:
    """Whether the record's currency has the fraction digits of the fees above."""
    return fields["currency"] != "JPY"


def some_records(rng: random.Random, count: int) -> list[tuple[int, dict[str, object]]]:
    """(side, fields) of that many records, ids unique."""
    records = []
    # Around noon in one world, around midnight of some zone in another.
    hour = rng.choice([12, 14, 4])
    for number in range(count):
        minute = rng.randint(0, 60)
        second = rng.choice([0, 0, rng.randint(0, 59)])
        occurred = (
            f"2026-01-0{rng.randint(3, 6)}"
            if rng.random() < 0.15
            else f"2026-01-05T{hour + minute // 60:02d}:{minute % 60:02d}:{second:02d}Z"
        )
        fields: dict[str, object] = {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": f"{rng.choice('abc')}{number}",
            "amount": rng.choice(AMOUNTS),
            "currency": rng.choice(["EUR", "EUR", "EUR", "USD"]),
            "occurred_at": occurred,
        }
        for name, values in (
            ("reference", ["R-1", "r1", "R-2", "R3"]),
            ("counterparty", ["Ann", "ann", "Bob"]),
            (
                "description",
                [
                    "Payment R-1 Ann",
                    "r1 by Bob",
                    "ann: R-2/R3 (1.)",
                    "R-1",
                    "Ann",
                    "!?",
                    "1 2",
                    "r3",
                ],
            ),
        ):
            if rng.random() < 0.85:
                fields[name] = rng.choice(values)
        if rng.random() < 0.1:
            fields |= {"amount": rng.choice(["1", "2", "-1"]), "currency": "JPY"}
        if rng.random() < 0.3:
            fields["fee"] = rng.choice(["0.01", "0.05", "-0.02"]) if fee_fits(fields) else "1"
        if rng.random() < 0.4:
            fields |= {"base_amount": rng.choice(AMOUNTS), "base_currency": "USD"}
        if rng.random() < 0.4:
            rate = rng.choice(["1", "1.005", "0.5", "100.125"])
            fields |= {"fx_rate": rate, "fx_to": rng.choice(["USD", "USD", "JPY", "EUR"])}
        if rng.random() < 0.8:
            fields["attributes"] = {"batch": rng.choice(["x", "y"])}
        records.append((rng.randint(0, 1), fields))
    return records


def some_transactions(rng: random.Random, count: int, *, alike: bool = False) -> list[Transaction]:
    """That many valid transactions, ids unique; `alike`, so that most rules find many of them."""
    transactions = []
    for side, fields in some_records(rng, count):
        if alike:
            fields |= {
                "reference": "R-1",
                "counterparty": "R-1",
                "description": "R-1",
                "attributes": {"batch": "x"},
                "currency": "EUR",
                "amount": rng.choice(["1.00", "1.00", "1.00", "2.00"]),
                "fee": "0.00",
                "occurred_at": f"2026-01-05T12:{rng.randint(0, 20):02d}:00Z",
            }
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
