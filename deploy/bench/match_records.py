"""The records of the matching benchmark: pairs of one reconciliation, and groups for a search.

Pair i occurs `STEP_MS` after pair i - 1; its target up to `BEHIND_MS` after its source. Sides come
in turn, chunk by chunk, each out of order within blocks, as a flow reads them.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from deploy.bench.records import shuffled
from domain.transaction_columns import TransactionColumns
from domain.transaction_reading import read_transactions

TENANT, RECONCILIATION = "bench", "match"
START_MS = 1_767_571_200_000
STEP_MS = 60
BEHIND_MS = 600_000
#: Records handed to the engine at once.
CHUNK = 8_192
#: One pair in so many has another amount or, where references are fuzzy, no reference.
ODD_ONE_IN = 20

_SYLLABLES = [
    "ba", "lo", "mi", "ter", "gru", "hof", "san", "dor",
    "wil", "ken", "pra", "zet", "nau", "rik", "fel", "mon",
]  # fmt: skip
_FAR_AHEAD_US = 1 << 60


def _names(count: int) -> list[str]:
    chance = random.Random(count)

    def word(syllables: int) -> str:
        return "".join(chance.choice(_SYLLABLES) for _ in range(syllables)).title()

    return [f"{word(4)} {word(3)} GmbH" for _ in range(count)]


NAMES = _names(2_000)


class Record(NamedTuple):
    """One leg, as much of it as the cases need.

    Attributes:
        occurred_ms: Milliseconds since the epoch.
    """

    side: int
    number: int
    occurred_ms: int
    reference: str | None
    amount_minor: int
    counterparty: str

    @property
    def transaction_id(self) -> str:
        """Unique per side."""
        return f"{'st'[self.side]}-{self.number:09d}"


class Case(NamedTuple):
    """What is matched, by which rules.

    Attributes:
        record: Gives one leg of pair i: (side, i) → record.
    """

    name: str
    rules: list[dict[str, Any]]
    record: Callable[[int, int], Record]

    @property
    def definition(self) -> dict[str, Any]:
        """As a person would write it."""
        return {
            "tenant_id": TENANT,
            "reconciliation_id": RECONCILIATION,
            "name": self.name,
            "rules": self.rules,
        }


def _base(side: int, number: int, behind_ms: int = 0) -> Record:
    occurred_ms = START_MS + number * STEP_MS
    if side and behind_ms:
        occurred_ms += number * 7_919 % behind_ms
    amount_minor = 200 + number * 7_919 % 999_983
    counterparty = NAMES[number * 31 % len(NAMES)]
    return Record(side, number, occurred_ms, f"ORD-{number:09d}", amount_minor, counterparty)


def unique(side: int, number: int) -> Record:
    """Both legs alike."""
    return _base(side, number)


def tolerant(side: int, number: int) -> Record:
    """The target comes later, and of some the amount is off by up to 0.50."""
    one = _base(side, number, BEHIND_MS)
    if side and number % ODD_ONE_IN == 0:
        return one._replace(amount_minor=one.amount_minor + number // ODD_ONE_IN % 101 - 50)
    return one


def fuzzy(side: int, number: int) -> Record:
    """Of some targets the reference is missing, the name lacks a letter, the amount is off."""
    one = _base(side, number, BEHIND_MS)
    if side and number % ODD_ONE_IN == 0:
        name, lost = one.counterparty, 3 + number % 7
        return one._replace(
            reference=None,
            amount_minor=one.amount_minor + number // ODD_ONE_IN % 3,
            counterparty=name[:lost] + name[lost + 1 :],
        )
    return one


_UNIQUE = {
    "name": "order-reference",
    "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
}
_TOLERANT = {
    "name": "reference-amount-date",
    "conditions": [{"field": "reference", "operator": "exact"}],
    "amount": {"tolerance": {"absolute": "0.50"}},
    "date": {"min_days": -1, "max_days": 3},
}
_FUZZY = {
    "name": "name-amount-date",
    "conditions": [{"field": "counterparty", "operator": "similarity", "minimum": "0.8"}],
    "amount": {"tolerance": {"absolute": "0.05"}},
    "date": {"min_days": -2, "max_days": 2},
}

CASES = (
    Case("unique", [_UNIQUE], unique),
    Case("reference_tolerance_date", [_TOLERANT], tolerant),
    Case("fuzzy_residual", [_UNIQUE, _FUZZY], fuzzy),
)


def message(record: Record) -> bytes:
    """A record as Kafka carries it."""
    second, millisecond = divmod(record.occurred_ms, 1_000)
    at = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
    reference = f'"reference":"{record.reference}",' if record.reference else ""
    major, minor = divmod(record.amount_minor, 100)
    return (
        f'{{"tenant_id":"{TENANT}","reconciliation_id":"{RECONCILIATION}",'
        f'"transaction_id":"{record.transaction_id}",{reference}'
        f'"amount":"{major}.{minor:02d}","currency":"EUR","occurred_at":"{at}{millisecond:03d}Z",'
        f'"counterparty":"{record.counterparty}"}}'
    ).encode()


def chunks(case: Case, pairs: int) -> Iterator[TransactionColumns]:
    """Give the records of pairs 0 to pairs - 1 as the flow gives them to the engine."""
    orders = [list(shuffled(pairs, seed=side)) for side in (0, 1)]
    for begin in range(0, pairs, CHUNK):
        for side, order in enumerate(orders):
            raws = [message(case.record(side, one)) for one in order[begin : begin + CHUNK]]
            (read,) = read_transactions(raws, range(len(raws)), side, _FAR_AHEAD_US)
            assert isinstance(read.transactions, TransactionColumns)
            yield read.transactions


class Group(NamedTuple):
    """A search: which of `amounts` sum to `total`."""

    amounts: list[int]
    total: int


def groups(
    count: int, *, candidates: int, members: tuple[int, int], amounts: tuple[int, int]
) -> list[Group]:
    """Give searches with one group planted in each, seeded.

    Args:
        members: The smallest and the largest group planted.
        amounts: The lowest and the highest candidate, in minor units.
    """
    found = []
    for seed in range(count):
        chance = random.Random(seed)
        some = [chance.randint(*amounts) for _ in range(candidates)]
        found.append(Group(some, sum(chance.sample(some, chance.randint(*members)))))
    return found
