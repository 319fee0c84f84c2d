"""What a definition makes of transactions: its rules ready to run, and the legs they ask for."""

from typing import Any

from domain.definitions import Definition
from domain.matching.calendar import Calendar
from domain.matching.compiled import CompiledRule, compile_rules
from domain.matching.keys import KeyOf
from domain.matching.legs import Leg
from domain.matching.pair_pool import make_pool
from domain.matching.pools import Pool
from domain.matching.unique_pool import UniquePool
from domain.transaction_columns import TransactionColumns
from domain.transactions import Transaction, unpack_transaction


class Terms:
    """The definition in force.

    Attributes:
        rules: In order.
        pools: Where legs wait to be found, by rule.
        looks: Ages, in microseconds, at which a leg is looked at.
        recalls: What is filed now was decided upon before: it is folded from what was recorded.
    """

    def __init__(self, definition: Definition) -> None:
        self.pools: list[Pool] = []
        self.recalls = False
        self.use(definition)

    def use(self, definition: Definition) -> None:
        """Compile a definition; its pools are empty."""
        self.rules: list[CompiledRule] = compile_rules(definition)
        self.pools = [make_pool(rule) for rule in self.rules]
        self._rules_and_pools = list(zip(self.rules, self.pools, strict=True))
        self._readers: tuple[list[KeyOf], list[KeyOf]] = (
            [read for rule in self.rules for read in rule.readers(0)],
            [read for rule in self.rules for read in rule.readers(1)],
        )
        self.calendar = Calendar(definition.time_zone)
        self.use_same_rules(definition)

    def has_same_rules(self, definition: Definition) -> bool:
        """Whether what is filed under the rules in force is filed right under a definition's."""
        ours = self.definition
        return (ours.rules, ours.time_zone) == (definition.rules, definition.time_zone)

    def use_same_rules(self, definition: Definition) -> None:
        """Take from a definition what is not in its rules, such as how long to wait."""
        self.definition = definition
        settles = {rule.settle_us for rule in self.rules if not rule.immediate}
        self.looks: list[int] = sorted(settles | {definition.window.wait_us})

    def keys_of(self, transaction: Transaction) -> tuple[Any, ...]:
        """What the rules look this transaction up by."""
        readers = self._readers[transaction.side]
        if len(readers) == 1:
            return (readers[0](transaction),)
        return tuple([read(transaction) for read in readers])

    def key_rows(self, records: TransactionColumns) -> list[tuple[Any, ...]]:
        """What the rules look each of these up by, see `keys_of`."""
        columns = [column for rule in self.rules for column in rule.key_columns(records)]
        return list(zip(*columns, strict=True))

    def event_time(self, transaction: Transaction) -> int:
        """Microseconds since the epoch; a bare date is the end of its day in our zone."""
        if transaction.is_date:
            return self.calendar.end_of_day(transaction.occurred_at)
        return transaction.occurred_at

    def event_times(self, records: TransactionColumns) -> list[int]:
        """Microseconds since the epoch of each, see `event_time`."""
        if not any(records.are_dates):
            return records.occurred_at
        end_of_day = self.calendar.end_of_day
        return [
            end_of_day(instant) if is_date else instant
            for instant, is_date in zip(records.occurred_at, records.are_dates, strict=True)
        ]

    def unpack(self, packed: bytes) -> Transaction:
        """Give a transaction of this reconciliation back."""
        one = self.definition
        return unpack_transaction(packed, one.tenant_id, one.reconciliation_id)

    def leg_of(self, transaction: Transaction) -> Leg:
        """A new leg for a transaction, not filed yet."""
        return Leg(
            transaction.transaction_id,
            transaction.side,
            transaction.amount_minor,
            transaction.currency,
            self.event_time(transaction),
            self.keys_of(transaction),
            transaction.packed,
            met=self.recalls,
        )

    def no_longer_aside(self, side: int, packed: bytes) -> Leg:
        """Note a duplicate no longer, under no value it brought; its leg is not filed."""
        leg = self.leg_of(self.unpack(packed))
        for rule, pool in self._rules_and_pools:
            if isinstance(pool, UniquePool):
                pool.drop_aside(side, leg.keys[rule.slot], leg.transaction_id)
        return leg
