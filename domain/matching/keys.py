"""Keys: what a rule's conditions read of a transaction, and ask of the texts of a pair."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from domain.definitions import Condition
from domain.matching.legs import Leg
from domain.matching.texts import form_of, pair_test
from domain.transaction_columns import TransactionColumns
from domain.transactions import SOURCE, Transaction, field_value

Key = Any
#: Gives a transaction's key for one rule, None when a condition's value is absent.
KeyOf = Callable[[Transaction], Key]

_FIELDS_AS_THEY_ARE = ("reference", "counterparty", "description", "transaction_id")


def reader(condition: Condition, side: int) -> Callable[[Transaction], Any]:
    """What reads one side's value of a condition, in the form it is compared in."""
    field = condition.source_field if side == SOURCE else condition.target_field
    form = form_of(condition, side)
    if form is None:
        if field in _FIELDS_AS_THEY_ARE:
            # Decoding has trimmed these and made blank ones None.
            return attrgetter(field)
        return lambda transaction: field_value(transaction, field)

    def read(transaction: Transaction) -> Any:
        value = field_value(transaction, field)
        return None if value is None else form(value)

    return read


def _side_key(conditions: tuple[Condition, ...], side: int) -> KeyOf:
    """Key of one side over several equality conditions: a text, or a tuple of texts."""
    readers = [reader(condition, side) for condition in conditions]
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


def both_sides(conditions: tuple[Condition, ...]) -> tuple[KeyOf, KeyOf] | None:
    """Keys of either side over several equality conditions; None for none of them."""
    return (_side_key(conditions, 0), _side_key(conditions, 1)) if conditions else None


def form_column(condition: Condition, records: TransactionColumns) -> list[Any]:
    """One condition's value of each record, in the form it is compared in."""
    field = condition.source_field if records.side == SOURCE else condition.target_field
    values = records.field(field)
    form = form_of(condition, records.side)
    if form is None:
        return values
    # Names and words come again and again; references do not, and lose little by being asked.
    distinct = set(values)
    if 2 * len(distinct) > len(values):
        return [None if value is None else form(value) for value in values]
    forms = {value: None if value is None else form(value) for value in distinct}
    return list(map(forms.__getitem__, values))


def key_column(conditions: tuple[Condition, ...], records: TransactionColumns) -> list[Key]:
    """The key of each record over several equality conditions, as `both_sides` gives it of one."""
    columns = [form_column(condition, records) for condition in conditions]
    if len(columns) == 1:
        return columns[0]
    return [None if None in values else values for values in zip(*columns, strict=True)]


class TextTest:
    """A condition that equality cannot decide: its place in `Leg.keys`, and what it asks there."""

    def __init__(self, condition: Condition, slot: int) -> None:
        self.condition = condition
        self.slot = slot
        self.readers = reader(condition, 0), reader(condition, 1)
        self._test = pair_test(condition)

    def holds(self, source: Leg, target: Leg) -> bool:
        """Whether both have a value and the two agree."""
        ours, theirs = source.keys[self.slot], target.keys[self.slot]
        return ours is not None and theirs is not None and self._test(ours, theirs)
