"""No float on an amount's path: looked for in the source, and poisoned at run time.

The source is every module of the domain, and every other that speaks of amounts at all. What may
stand there although it looks like a float is listed with the reason; a list entry that is not met
any more fails, too.
"""

import ast
import random
import re

import msgspec
import pytest

from domain.matching import pair_pool
from domain.money import CURRENCY_DIGITS, format_minor
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import Transaction, build_transaction
from tests.unit.domain import comparison, reference
from tests.unit.domain.ledger import Ledger

PACKAGES = ("domain", "connectors", "projections", "flows", "api")
SPEAKS_OF_AMOUNTS = re.compile(r"amount|_minor|Decimal|difference|Fraction")
# Of `math`, what takes and gives whole numbers.
WHOLE = {"gcd", "lcm", "isqrt", "comb", "perm", "factorial"}
FLOAT_CALLS = {"float", "complex", "round"}
FLOAT_ATTRIBUTES = {"__truediv__", "__rtruediv__", "__float__", "truediv", "fsum", "fmean"}
# SQL's inexact types, and casts to them.
SQL_FLOATS = re.compile(r"\b(double precision|float[48]?|real)\b", re.IGNORECASE)

# Modules that speak of amounts and count something else in floats.
OTHER_FLOATS = {
    "connectors/synthetic/workload.py": "shares of made-up records",
    "flows/publish.py": "seconds",
    "projections/runner.py": "seconds, and buckets of a histogram",
    "api/rate_limits.py": "requests a minute",
}
# (module, what the line holds) → why it is no float of an amount.
ALLOWED = {
    ("domain/matching/amounts.py", "Fraction(rule.percent) / 100"): "a Fraction",
    ("domain/matching/near_misses.py", "Decimal(end - begin) / SECOND_US"): "seconds",
    ("domain/condition_parsing.py", "isinstance(value, float)"): "refuses them",
    ("domain/definition_values.py", "isinstance(value, float)"): "refuses them",
    ("domain/transaction_decoding.py", "isinstance(value, float)"): "refuses them",
    ("domain/transaction_decoding.py", 'float: "a float"'): "names them to refuse them",
    ("connectors/files/explanations.py", "Decimal(one) / SECOND_US"): "seconds",
    ("connectors/files/explanations.py", "/ 10**scale"): "a Fraction",
    ("connectors/files/explanations.py", '"score": min('): "how alike texts are",
    ("connectors/files/summary.py", "accepted_total"): "a share of transactions",
    ("domain/backtesting/report.py", "_accuracy"): "a share of transactions",
    ("domain/backtesting/report.py", "/ backtest.transactions"): "a share of transactions",
    ("domain/explaining/amounts.py", "limit_units("): "a Fraction",
    ("domain/explaining/amounts.py", "of_percent / unit"): "a Fraction",
    ("domain/explaining/conditions.py", "score=lowest"): "how alike texts are",
    ("domain/explaining/confidence.py", "tuple[float, str]"): "a confidence",
    ("domain/explaining/confidence.py", "1.0,"): "a confidence",
    ("domain/explaining/confidence.py", "round(1 / rivals, 4)"): "a confidence",
    ("domain/explaining/dates.py", "Decimal(apart) / SECOND_US"): "seconds",
    ("domain/explaining/shown.py", "score: float"): "how alike texts are",
    ("domain/explaining/shown.py", "confidence: float"): "a confidence",
    ("domain/explaining/wording.py", "Decimal(value.numerator) /"): "a Decimal, with room",
    ("domain/linting/tolerances.py", "judged[0] / judged[1].amount"): "a Decimal",
    ("domain/linting/tolerances.py", "part * 100 / whole"): "a Decimal",
    ("domain/linting/tolerances.py", "rule.percent * amount / 100"): "a Decimal",
    ("api/backtests.py", "SECONDS_MAX"): "seconds",
    ("api/backtests.py", "float | None"): "a share of transactions",
    ("api/dead_letters.py", "_LOOK_AGAIN_SECONDS"): "seconds",
    ("api/dead_letters.py", "wait: float"): "seconds",
    ("api/examples.py", "match_rate"): "a share of transactions",
    ("api/examples.py", "isinstance(named, int | float)"): "of an example's own type",
    ("api/runs.py", "match_rate"): "a share of transactions",
    ("api/working.py", "wait: float"): "seconds",
    ("api/summaries.py", "match_rate"): "a share of transactions",
}
FOLDERS = {"directory", "folder", "place"}


def floats_of(tree: ast.Module):
    """Lines where a float is made, or may be."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                yield node.lineno
            case ast.BinOp(op=ast.Div()) if not is_path(node):
                yield node.lineno
            case ast.AugAssign(op=ast.Div()):
                yield node.lineno
            case ast.Call(func=ast.Name(id=name)) if name in FLOAT_CALLS:
                yield node.lineno
            case ast.Name(id="float" | "complex"):
                yield node.lineno
            case ast.Attribute(attr=name) if name in FLOAT_ATTRIBUTES:
                yield node.lineno
            case ast.Import(names=names) if {one.name for one in names} & {"math", "statistics"}:
                yield node.lineno
            case ast.ImportFrom(module="math", names=names):
                if {one.name for one in names} - WHOLE:
                    yield node.lineno
            case ast.ImportFrom(module="statistics"):
                yield node.lineno


def is_path(node: ast.BinOp) -> bool:
    left = node.left
    while isinstance(left, ast.BinOp):
        left = left.left
    return isinstance(left, ast.Name) and left.id in FOLDERS


def amount_modules(repository):
    for package in PACKAGES:
        for path in sorted((repository / package).rglob("*.py")):
            text = path.read_text()
            if package == "domain" or SPEAKS_OF_AMOUNTS.search(text):
                yield path.relative_to(repository).as_posix(), text


def test_no_module_on_an_amounts_path_makes_a_float(repository):
    met, found = set(), []
    for module, text in amount_modules(repository):
        if module in OTHER_FLOATS:
            met.add(module)
            continue
        lines = text.splitlines()
        for number in sorted(set(floats_of(ast.parse(text)))):
            line = lines[number - 1]
            reasons = {one for one in ALLOWED if one[0] == module and one[1] in line}
            met |= reasons
            if not reasons:
                found.append(f"{module}:{number}: {line.strip()}")
    assert not found, "\n".join(found)
    assert met == {*ALLOWED, *OTHER_FLOATS}, "an exception that is not needed any more"


@pytest.mark.parametrize(
    "code",
    [
        "x = 1.0", "x = a / b", "a /= b", "x = float(a)", "x = round(a, 2)", "x: float = a",
        "import math", "from math import floor", "import statistics", "operator.truediv(a, b)",
        "x = 1j", "map(float, a)",
    ],
)  # fmt: skip
def test_what_makes_a_float_is_seen(code):
    assert list(floats_of(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["x = a // b", "x = directory / name / 'x'", "from math import gcd", "x = divmod(a, b)"]
)
def test_what_makes_none_is_let_be(code):
    assert not list(floats_of(ast.parse(code)))


def test_no_sql_on_an_amounts_path_has_an_inexact_type(repository):
    seen = 0
    for package in PACKAGES:
        for path in sorted((repository / package).rglob("*.sql")):
            for line in path.read_text().splitlines():
                if SPEAKS_OF_AMOUNTS.search(line):
                    seen += 1
                    assert not SQL_FLOATS.search(line), f"{path}: {line}"
                elif SQL_FLOATS.search(line) and not line.lstrip().startswith("--"):
                    assert "extract(epoch" in line, f"{path}: {line}"
    assert seen > 50, "the read models hold amounts"


# -- at run time --


class Poisoned(int):
    """A whole number that fails whoever makes a float of it, or of anything computed from it."""

    def _no_float(self, *_other):
        raise AssertionError("an amount became a float")

    __float__ = __truediv__ = __rtruediv__ = __round__ = _no_float


def _passing_on(name):
    plain = getattr(int, name)

    def operation(self, *others):
        assert not any(isinstance(one, float) for one in others), "an amount met a float"
        result = plain(self, *others)
        if isinstance(result, tuple):
            return tuple(map(Poisoned, result))
        return Poisoned(result) if type(result) is int else result

    return operation


for _name in (
    "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__floordiv__",
    "__rfloordiv__", "__mod__", "__rmod__", "__divmod__", "__rdivmod__", "__neg__", "__abs__",
    "__lshift__", "__rshift__",
):  # fmt: skip
    setattr(Poisoned, _name, _passing_on(_name))


def poisoned(one: Transaction) -> Transaction:
    extra = one.extra
    if extra is not None:
        fee, base, *rest = extra
        fee, base = (None if x is None else Poisoned(x) for x in (fee, base))
        extra = (fee, base, *rest)
    return msgspec.structs.replace(one, amount_minor=Poisoned(one.amount_minor), extra=extra)


def test_the_poison_works():
    for make in (float, lambda x: x / 2, lambda x: (x + 1 - 2) / 2, lambda x: 1 / abs(-x), round):
        with pytest.raises(AssertionError, match="float"):
            make(Poisoned(3))
    with pytest.raises(AssertionError, match="float"):
        Poisoned(3) * 0.5


def test_the_engine_matches_poisoned_amounts_as_it_should(monkeypatch):
    compared = 0
    for seed in range(250):
        world = comparison.some_world(seed)
        if any(one.extra is not None and one.extra[5] for one in world.transactions):
            continue  # a correction is read again from what is packed
        monkeypatch.setattr(pair_pool, "FEW", world.few)
        state, ledger = Reconciliation(world.definition), Ledger()
        given = [poisoned(one) for one in world.transactions]
        ledger.read(state.advance(Chunk(given)).events, world.definition)
        ledger.read(state.finish().events, world.definition)
        expected = reference.run(world.definition, list(world.transactions))
        if not any(any(c.unique for c in rule.conditions) for rule in world.definition.rules):
            assert ledger.confirmed == expected.confirmed, f"seed={seed}"
            compared += bool(expected.confirmed)
    assert compared > 25


# -- the widest amounts --


def definition(**rule):
    return comparison.parse_definition(
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "rules": [{"name": "r", "conditions": [{"field": "reference", "operator": "exact"}]}
                      | rule],
        }
    )  # fmt: skip


def matched(rule, currency, source_minor, target_minor, **more):
    digits = CURRENCY_DIGITS[currency]
    transactions = []
    for side, minor in enumerate((source_minor, target_minor)):
        fields = {
            "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": "x",
            "amount": format_minor(minor, digits), "currency": currency,
            "occurred_at": "2026-01-05", "reference": "R",
        } | (more if side == 0 else {})  # fmt: skip
        built = build_transaction(fields, side, None)
        assert isinstance(built, Transaction), built
        assert built.amount_minor == minor
        transactions.append(built)
    state, ledger = Reconciliation(rule), Ledger()
    for one in transactions:
        state.advance(Chunk([one]))
    ledger.read(state.finish().events, rule)
    return bool(ledger.confirmed)


EVERY_WIDTH = {0: "JPY", 2: "EUR", 3: "KWD", 4: "UYW"}


@pytest.mark.parametrize("currency", EVERY_WIDTH.values(), ids=map(str, EVERY_WIDTH))
@pytest.mark.parametrize("seed", range(5))
def test_eighteen_digits_are_told_apart_by_their_last(currency, seed):
    assert CURRENCY_DIGITS[currency] == {v: k for k, v in EVERY_WIDTH.items()}[currency]
    chance = random.Random(seed)
    # The last is even when rounded to the 53 bits of a float, so that its neighbour is the same.
    most = chance.choice([10**18 - 1, 10**18 - 2, -(10**18) + 1, chance.randrange(10**17, 10**18)])
    other = most - 1 if most > 0 else most + 1
    assert float(most) == float(other)
    assert matched(definition(), currency, most, most)
    assert not matched(definition(), currency, most, other)
    unit = format_minor(1, CURRENCY_DIGITS[currency])
    exclusive = {"tolerance": {"absolute": unit}, "inclusive": False}
    assert matched(definition(amount={"tolerance": {"absolute": unit}}), currency, most, other)
    assert not matched(definition(amount=exclusive), currency, most, other)


def test_a_rate_of_eighteen_digits_is_exact():
    rule = definition(amount={"basis": {"source": "fx", "target": "amount"}})
    rate = {"fx_rate": "1.00000000000000001", "fx_to": "EUR"}
    # 10^17 minor units times 1 + 10^-17 is one unit more, which no float can hold.
    assert matched(rule, "EUR", 10**17, 10**17 + 1, **rate)
    assert not matched(rule, "EUR", 10**17, 10**17, **rate)
