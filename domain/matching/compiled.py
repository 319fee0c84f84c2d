"""A rule made ready to run: which keys it looks legs up by, and what it asks of a pair."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from domain.definitions import EQUALITY_OPERATORS, AmountRule, Condition, Definition, Rule
from domain.matching.admission import all_of, amounts_and_a_span
from domain.matching.amounts import Limits, limits_of
from domain.matching.dates import Span, spans_of
from domain.matching.keys import Key, KeyOf, TextTest, both_sides, form_column, key_column
from domain.matching.legs import Leg
from domain.matching.values import Comparison, Value
from domain.money import currency_digits
from domain.transaction_columns import TransactionColumns
from domain.transactions import SOURCE, Transaction

#: `CompiledRule.many_side` where both sides may have several members.
BOTH = 2
_MANY_SIDES = {"one_to_one": None, "one_to_many": 1, "many_to_one": 0, "many_to_many": BOTH}

#: Source ids and target ids, in order.
Members = tuple[tuple[str, ...], tuple[str, ...]]


class _LimitsByCurrency(dict[str, Limits]):
    """Limits of one rule, compiled when a currency is first met."""

    def __init__(self, rule: AmountRule, extra_digits: int) -> None:
        super().__init__()
        self._rule = rule
        self._extra_digits = extra_digits

    def __missing__(self, currency: str) -> Limits:
        digits = currency_digits(currency)
        assert digits is not None, currency
        limits = self[currency] = limits_of(self._rule, digits + self._extra_digits)
        return limits


class CompiledRule:
    """One rule with its places in `Leg.keys`.

    Attributes:
        slot: Place of the key the rule's pool is indexed by.
        rest_slot: Place of the key of the conditions that are checked per pair, or None.
        texts: Conditions that equality cannot decide, each with its own place.
        value_slot: Place of the value compared, or None where it is the amount as it is.
        spans: The measures of time a date window compares, each with its place.
        anchored: All members lie in the window of one of several sources, rather than each target
            in the window of every source.
        unique: The rule has a unique condition; `slot` then holds that value alone.
        many_side: The side of which a match may take several: 0, 1, or BOTH; None for one to one.
        greedy: Candidates are taken best first, so that none is ambiguous.
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
        self.many_side = _MANY_SIDES[rule.match_type]
        self.greedy = rule.selection in ("lowest_id", "prefer")
        self.suggests = rule.outcome == "suggest"
        self.asks = self.suggests or (rule.selection == "suggest" and not self.unique)
        self.remembers_rivals = self.suggests or not self.greedy or rule.whole_key is not None
        self.refused: set[Members] = set()
        self.rejected: set[Members] = set()
        self.comparison = Comparison(rule.amount)
        self._limits = _LimitsByCurrency(rule.amount, self.comparison.extra)
        indexed, rest = self._divide(rule)
        self.slot = slot
        slot += 1
        self.rest_slot: int | None = None
        self._indexed_conditions = indexed
        self._indexed = both_sides(indexed)
        self._rest_conditions = rest
        self._rest = both_sides(rest)
        if rest:
            self.rest_slot = slot
            slot += 1
        self.texts: list[TextTest] = []
        for condition in rule.conditions:
            if condition.operator not in EQUALITY_OPERATORS:
                self.texts.append(TextTest(condition, slot))
                slot += 1
        self.value_slot: int | None = None
        if not self.comparison.as_it_is:
            self.value_slot = slot
            slot += 1
        self._target_sign = self.comparison.target_sign
        self.spans: list[tuple[int, Span]] = []
        for span in spans_of(rule.date):
            self.spans.append((slot, span))
            slot += 1
        # With one source the window of one source's day is that of every pair.
        several = self.many_side in (0, BOTH)
        self.anchored = several and rule.date is not None and rule.date.anchored
        self.next_slot = slot
        #: Whether a pair with equal keys is a candidate match.
        self.admits: Callable[[Leg, Leg], bool] = self._admission()
        self._fits = self.admits
        self.plain = (
            self.rest_slot is None
            and not self.texts
            and not self.spans
            and self.value_slot is None
            and rule.amount.kind == "equal"
            and not rule.amount.opposite
        )

    def _divide(self, rule: Rule) -> tuple[tuple[Condition, ...], tuple[Condition, ...]]:
        """Conditions of equality that make the index, and those each pair is checked for."""
        equal = tuple(c for c in rule.conditions if c.operator in EQUALITY_OPERATORS)
        if self.unique:
            first = next(c for c in equal if c.unique)
        elif rule.whole_key is not None:
            first = next(c for c in equal if c.source_field == rule.whole_key)
        else:
            return equal, ()
        return (first,), tuple(c for c in equal if c is not first)

    @property
    def has_key(self) -> bool:
        """Whether any condition makes a key; else amounts alone find candidates."""
        return self._indexed is not None

    def readers(self, side: int) -> list[KeyOf]:
        """What gives the values for this rule's places in `Leg.keys`, of one side's transaction."""
        readers: list[KeyOf] = [self._indexed[side] if self._indexed else lambda _: ""]
        if self._rest is not None:
            readers.append(self._rest[side])
        readers += [text.readers[side] for text in self.texts]
        if self.value_slot is not None:
            readers.append(self._value)
        readers += [span.measure for _, span in self.spans]
        return readers

    def index_column(self, records: TransactionColumns) -> list[Key]:
        """The indexed key of each; only for a unique rule, whose one unique condition makes it."""
        return key_column(self._indexed_conditions, records)

    def key_columns(self, records: TransactionColumns) -> list[Sequence[Key]]:
        """What `readers` give of each record, one list a place."""
        indexed = self._indexed_conditions
        columns: list[Sequence[Key]] = [
            key_column(indexed, records) if indexed else [""] * len(records)
        ]
        if self._rest is not None:
            columns.append(key_column(self._rest_conditions, records))
        columns += [form_column(text.condition, records) for text in self.texts]
        if self.value_slot is not None:
            columns.append(list(map(self._value, records)))
        columns += [span.measure_all(records) for _, span in self.spans]
        return columns

    @property
    def key_readers(self) -> tuple[KeyOf, KeyOf] | None:
        """What gives `keys`, by side, when the rule has a single place; else None."""
        return self._indexed if self.next_slot - self.slot == 1 else None

    def _value(self, transaction: Transaction) -> Value | None:
        value = self.comparison.value(transaction)
        if value is None or self.many_side is not None:
            return value  # sums are rounded, not their members
        return value[0], self.comparison.rounded(*value)

    def value_of(self, leg: Leg) -> Value | None:
        """What of a leg is compared: (currency, units); None if it lacks what the basis needs."""
        if self.value_slot is not None:
            value: Value | None = leg.keys[self.value_slot]
            return value
        if leg.side == SOURCE or self._target_sign == 1:
            return leg.currency, leg.amount_minor
        return leg.currency, -leg.amount_minor

    def side_value(self, legs: Sequence[Leg]) -> Value | None:
        """What of a whole side is compared; None if currencies differ or a member lacks a value."""
        return self.comparison.side([self.value_of(leg) for leg in legs])

    def difference(self, source: Leg, target: Leg) -> Decimal | None:
        """Target - source as compared, in major units; None if they cannot be compared."""
        ours, theirs = self.value_of(source), self.value_of(target)
        if ours is None or theirs is None or ours[0] != theirs[0]:
            return None
        return self.comparison.decimal((ours[0], theirs[1] - ours[1]))

    def limits(self, currency: str) -> Limits:
        """The rule's limits for values in one currency."""
        return self._limits[currency]

    def sides_agree(self, sources: Sequence[Leg], targets: Sequence[Leg]) -> bool:
        """Whether the sums of two sides are within the rule's limits."""
        ours, theirs = self.side_value(sources), self.side_value(targets)
        if ours is None or theirs is None or ours[0] != theirs[0]:
            return False
        return self.limits(ours[0]).agree(ours[1], theirs[1])

    def rest_agrees(self, source: Leg, target: Leg) -> bool:
        """Whether the conditions that are not indexed hold."""
        slot = self.rest_slot
        if slot is None:
            return True
        value = source.keys[slot]
        return value is not None and bool(value == target.keys[slot])

    def failed_condition(self, source: Leg, target: Leg) -> str:
        """Which condition a pair with equal keys fails that does not hold in all of them."""
        if not self.rest_agrees(source, target):
            return "another value"
        one = next(text.condition for text in self.texts if not text.holds(source, target))
        fields = dict.fromkeys((one.source_field, one.target_field))
        return f"{one.operator} of {' and '.join(fields)}"

    def texts_agree(self, source: Leg, target: Leg) -> bool:
        """Whether the conditions hold that equality cannot decide."""
        return all(text.holds(source, target) for text in self.texts)

    def dates_agree(self, source: Leg, target: Leg) -> bool:
        """Whether the target lies in the source's window; of a group, one source's may do."""
        if self.anchored:
            return True
        for slot, span in self.spans:
            begin, end = source.keys[slot], target.keys[slot]
            if begin is None or end is None or not span.allows(end - begin):
                return False
        return True

    def anchored_on_a_source(self, sources: Sequence[Leg], targets: Sequence[Leg]) -> bool:
        """Whether all other members lie in the window of one of the sources."""
        return bool(self.anchors(sources, targets))

    def anchors(self, sources: Sequence[Leg], targets: Sequence[Leg]) -> list[Leg]:
        """The sources in whose window all other members lie."""
        members = (*sources, *targets)
        fitting = list(sources)
        for slot, span in self.spans:
            found = [leg.keys[slot] for leg in members]
            if None in found:
                return []
            found.sort()
            # The lowest and the highest of the others are the lowest and the highest of all, but
            # for a leg that is one of these itself.
            fitting = [
                leg
                for leg in fitting
                if span.allows(found[leg.keys[slot] == found[0]] - leg.keys[slot])
                and span.allows(found[-1 - (leg.keys[slot] == found[-1])] - leg.keys[slot])
            ]
        return fitting

    def first_failure(self, source: Leg, target: Leg) -> str | None:
        """What keeps a pair with equal keys apart.

        The first of rest, currency, amount, date, and for one to one a person who refused it.
        """
        if not self.rest_agrees(source, target) or not self.texts_agree(source, target):
            return "condition"
        ours, theirs = self.value_of(source), self.value_of(target)
        if ours is None or theirs is None:
            return "amount"
        if ours[0] != theirs[0]:
            return "currency"
        if self.many_side is None and not self.limits(ours[0]).agree(ours[1], theirs[1]):
            return "amount"
        if self.spans and not self.dates_agree(source, target):
            return "date"
        if self.many_side is None and self.refuses(source, target):
            return "refused"
        return None

    def refuse(self, members: Members, *, rejected: bool) -> None:
        """Make no match of some members, and where it was a suggestion ask no more about it."""
        self.refused.add(members)
        if rejected:
            self.rejected.add(members)
        if self.many_side is None:
            self.admits = self._fits_and_is_not_refused

    def refuse_none(self) -> None:
        """Forget every refusal."""
        self.refused.clear()
        self.rejected.clear()
        self.admits = self._fits

    def refuses(self, *members: Leg) -> bool:
        """Whether people have kept exactly these members, in id order on each side, apart."""
        return bool(self.refused) and _ids(members) in self.refused

    def refuses_within(self, sources: Sequence[Leg], targets: Sequence[Leg]) -> bool:
        """Whether people have kept some of these members apart."""
        if not self.refused:
            return False
        ids = _ids((*sources, *targets))
        source_ids, target_ids = set(ids[0]), set(ids[1])
        return any(
            source_ids.issuperset(ours) and target_ids.issuperset(theirs)
            for ours, theirs in self.refused
        )

    def has_been_rejected(self, *members: Leg) -> bool:
        """Whether a person has rejected exactly these members, in id order on each side."""
        return bool(self.rejected) and _ids(members) in self.rejected

    def _fits_and_is_not_refused(self, source: Leg, target: Leg) -> bool:
        return self._fits(source, target) and not self.refuses(source, target)

    def _admission(self) -> Callable[[Leg, Leg], bool]:
        """What `first_failure` finds nothing wrong with, quickest questions first."""
        tests: list[Callable[[Leg, Leg], bool]] = []
        if self.many_side is None:
            tests.append(self._values_test())
        else:
            tests.append(self._same_currency)
        if self.spans:
            tests.append(self.dates_agree)
        if self.rest_slot is not None:
            tests.append(self.rest_agrees)
        tests += [text.holds for text in self.texts]
        amounts_as_they_are = self.value_slot is None and self._target_sign == 1
        lone_span = len(tests) == 2 and len(self.spans) == 1 and not self.anchored
        if lone_span and amounts_as_they_are and self.many_side is None:
            return amounts_and_a_span(self._limits, *self.spans[0])
        return all_of(tests)

    def _same_currency(self, source: Leg, target: Leg) -> bool:
        ours, theirs = self.value_of(source), self.value_of(target)
        return ours is not None and theirs is not None and ours[0] == theirs[0]

    def _values_test(self) -> Callable[[Leg, Leg], bool]:
        limits, slot = self._limits, self.value_slot
        if slot is None and self._target_sign == 1:

            def as_they_are(source: Leg, target: Leg) -> bool:
                currency = source.currency
                if currency != target.currency:
                    return False
                return limits[currency].agree(source.amount_minor, target.amount_minor)

            return as_they_are

        def agree(source: Leg, target: Leg) -> bool:
            ours, theirs = self.value_of(source), self.value_of(target)
            if ours is None or theirs is None or ours[0] != theirs[0]:
                return False
            return limits[ours[0]].agree(ours[1], theirs[1])

        return agree


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
