"""A rule made ready to run: which keys it looks legs up by, and what it asks of a pair."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from domain.definitions import Condition, Definition, Rule
from domain.matching.amounts import AmountTest, amount_test
from domain.matching.calendar import Calendar
from domain.matching.legs import Leg
from domain.money import currency_digits
from domain.transactions import SOURCE, Transaction, field_value

Key = Any
#: Source ids and target ids, in order.
Members = tuple[tuple[str, ...], tuple[str, ...]]
#: Gives a transaction's key for one rule, None when a condition's value is absent.
KeyOf = Callable[[Transaction], Key]

_FIELDS_AS_THEY_ARE = ("reference", "counterparty", "description", "transaction_id")


def normalise(operator: str, value: str) -> str | None:
    """The form in which two values are equal when the operator holds; None satisfies nothing."""
    match operator:
        case "exact":
            return value
        case "casefold":
            return value.casefold()
        case "alphanumeric":
            # isalnum() keeps letters and digits of every script.
            return "".join(c for c in value.casefold() if c.isalnum()) or None
    raise AssertionError(operator)


def _reader(field: str, operator: str) -> Callable[[Transaction], str | None]:
    if operator == "exact" and field in _FIELDS_AS_THEY_ARE:
        # Decoding has trimmed these and made blank ones None.
        return attrgetter(field)

    def read(transaction: Transaction) -> str | None:
        value = field_value(transaction, field)
        return None if value is None else normalise(operator, value)

    return read


def _side_key(conditions: tuple[Condition, ...], side: int) -> KeyOf:
    """Key of one side over several equality conditions: a text, or a tuple of texts."""
    readers = [
        _reader(c.source_field if side == SOURCE else c.target_field, c.operator)
        for c in conditions
    ]
    if len(readers) == 1:
        return readers[0]

    def read_all(transaction: Transaction) -> tuple[str, ...] | None:
        values = []
        for read in readers:
            value = read(transaction)
            if value is None:
                return None
            values.append(value)
        return tuple(values)

    return read_all


def _both_sides(conditions: tuple[Condition, ...]) -> tuple[KeyOf, KeyOf] | None:
    return (_side_key(conditions, 0), _side_key(conditions, 1)) if conditions else None


class CompiledRule:
    """One rule with its places in `Leg.keys`.

    Attributes:
        slot: Place of the key the rule's pool is indexed by.
        rest_slot: Place of the key of the conditions that are checked per pair, or None.
        day_slot: Place of the local day a date window compares, or None.
        unique: The rule has a unique condition; `slot` then holds that value alone.
        many_side: For a whole-key rule, the side that is taken as a group; else None.
        plain: Equal key, currency and amount are all the rule asks.
        suggests: What the rule finds is put before a person.
        asks: It may put something before a person, be it only what is ambiguous.
        remembers_rivals: A leg that a later rule matches goes on to count among this rule's
            candidates. Whether a set is ambiguous, or a group whole, must not depend on when
            another rule took one of its members.
        refused: Members that people have kept apart: they are no match of this rule.
        rejected: Those of them that were a suggestion of this rule; it may not ask again.
    """

    def __init__(self, rule: Rule, index: int, slot: int) -> None:
        self.rule = rule
        self.name = rule.name
        self.index = index
        self.immediate = rule.immediate
        self.settle_us = rule.settle_us
        self.policy = rule.selection
        self.unique = any(c.unique for c in rule.conditions)
        self.many_side = (
            None if rule.whole_key is None else (1 if rule.match_type == "one_to_many" else 0)
        )
        self.suggests = rule.outcome == "suggest"
        self.asks = self.suggests or (rule.selection == "suggest" and not self.unique)
        self.remembers_rivals = (
            self.suggests or rule.selection != "lowest_id" or rule.whole_key is not None
        )
        self.refused: set[Members] = set()
        self.rejected: set[Members] = set()
        self._amount_tests: dict[str, AmountTest] = {}
        indexed, rest = self._divide(rule)
        self.conditions_rest = rest
        self.slot = slot
        slot += 1
        self.rest_slot: int | None = None
        self.day_slot: int | None = None
        self._indexed = _both_sides(indexed)
        self._rest = _both_sides(rest)
        if rest:
            self.rest_slot = slot
            slot += 1
        self._calendar: Calendar | None = None
        if rule.date is not None:
            self.day_slot = slot
            self._calendar = Calendar(rule.date.time_zone)
            slot += 1
        self.next_slot = slot
        self.plain = (
            self.rest_slot is None and self.day_slot is None and rule.amount.kind == "equal"
        )

    def _divide(self, rule: Rule) -> tuple[tuple[Condition, ...], tuple[Condition, ...]]:
        """Conditions that make the index, and those that each pair is checked for."""
        if self.unique:
            first = next(c for c in rule.conditions if c.unique)
        elif rule.whole_key is not None:
            first = next(c for c in rule.conditions if c.source_field == rule.whole_key)
        else:
            return rule.conditions, ()
        return (first,), tuple(c for c in rule.conditions if c is not first)

    @property
    def has_key(self) -> bool:
        """Whether any condition makes a key; else amounts alone find candidates."""
        return self._indexed is not None

    def keys(self, transaction: Transaction, side: int) -> list[Key]:
        """The values for this rule's places in `Leg.keys`."""
        keys: list[Key] = [self._indexed[side](transaction) if self._indexed else ""]
        if self._rest is not None:
            keys.append(self._rest[side](transaction))
        if self._calendar is not None:
            # A bare date is the day it names, in every zone.
            keys.append(
                transaction.occurred_at // 86_400_000_000
                if transaction.is_date
                else self._calendar.day_of(transaction.occurred_at)
            )
        return keys

    @property
    def index_keys(self) -> tuple[KeyOf, KeyOf]:
        """What reads the indexed key, by side; only for a rule that has one."""
        assert self._indexed is not None
        return self._indexed

    @property
    def key_readers(self) -> tuple[KeyOf, KeyOf] | None:
        """What gives `keys`, by side, when the rule has a single place; else None."""
        return self._indexed if self.next_slot - self.slot == 1 else None

    def amounts_agree(self, currency: str, source_minor: int, target_minor: int) -> bool:
        """Whether two sums in one currency are within the rule's limits."""
        test = self._amount_tests.get(currency)
        if test is None:
            digits = currency_digits(currency)
            assert digits is not None, currency
            test = self._amount_tests[currency] = amount_test(self.rule.amount, digits)
        return test(source_minor, target_minor)

    def rest_agrees(self, source: Leg, target: Leg) -> bool:
        """Whether the conditions that are not indexed hold."""
        slot = self.rest_slot
        if slot is None:
            return True
        value = source.keys[slot]
        return value is not None and bool(value == target.keys[slot])

    def days_agree(self, source: Leg, target: Leg) -> bool:
        """Whether the calendar days are within the rule's window."""
        slot = self.day_slot
        if slot is None:
            return True
        window = self.rule.date
        assert window is not None
        days = target.keys[slot] - source.keys[slot]
        low, high = window.min_days, window.max_days
        if window.inclusive:
            return (low is None or low <= days) and (high is None or days <= high)
        return (low is None or low < days) and (high is None or days < high)

    def first_failure(self, source: Leg, target: Leg) -> str | None:
        """What keeps a pair with equal keys apart.

        The first of rest, currency, amount, date, and for one to one a person who refused it.
        """
        if not self.rest_agrees(source, target):
            return "condition"
        if source.currency != target.currency:
            return "currency"
        if self.many_side is None and not self.amounts_agree(
            source.currency, source.amount_minor, target.amount_minor
        ):
            return "amount"
        if not self.days_agree(source, target):
            return "date"
        if self.refused and self.rule.match_type == "one_to_one" and self.refuses(source, target):
            return "refused"
        return None

    def refuses(self, *members: Leg) -> bool:
        """Whether people have kept exactly these members, in id order on each side, apart."""
        return _ids(members) in self.refused

    def has_been_rejected(self, *members: Leg) -> bool:
        """Whether a person has rejected exactly these members, in id order on each side."""
        return bool(self.rejected) and _ids(members) in self.rejected

    def admits(self, source: Leg, target: Leg) -> bool:
        """Whether a pair with equal keys is a candidate match."""
        return self.first_failure(source, target) is None


def _ids(members: tuple[Leg, ...]) -> Members:
    return (
        tuple(leg.transaction_id for leg in members if leg.side == SOURCE),
        tuple(leg.transaction_id for leg in members if leg.side != SOURCE),
    )


def compile_rules(definition: Definition) -> list[CompiledRule]:
    """Compile a definition's rules and lay out `Leg.keys`."""
    rules: list[CompiledRule] = []
    slot = 0
    for index, rule in enumerate(definition.rules):
        compiled = CompiledRule(rule, index, slot)
        rules.append(compiled)
        slot = compiled.next_slot
    return rules
