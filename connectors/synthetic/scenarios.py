"""Every way a pair or group of records can arrive, whatever its shape.

A shape builds the legs of one business event; a scenario sends some of them, changed or not, and
writes down at once what a right reconciliation makes of it.  The truth is therefore known by
construction: nothing here compares two records.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from connectors.synthetic import broken
from connectors.synthetic.definitions import LATENESS_SECONDS, WAIT_SECONDS, StreamSpec
from connectors.synthetic.facts import DeadLetterFact, ExceptionFact, Facts, MatchFact, digest
from connectors.synthetic.records import Calendar, Leg, amount_text
from domain.transactions import SIDE_NAMES, SOURCE, TARGET

Message = tuple[int, bytes, bytes]
LATENESS_US = LATENESS_SECONDS * 1_000_000
WAIT_US = WAIT_SECONDS * 1_000_000
# Legs of one event lie this far apart at most, well inside the lateness of the definitions.
LEG_DELAY_MS = LATENESS_SECONDS * 1000 // 3


class Outbox(Protocol):
    """Where messages go: into the present block, or into one that begins at `at_us` or later."""

    def now(self, message: Message) -> None:
        """Send it with the present block."""

    def later(self, at_us: int, message: Message) -> None:
        """Send it with the first block after `at_us`."""


class Shape:
    """What all shapes share: sending, and the scenarios that need nothing but legs.

    Args:
        spec: The reconciliation these records belong to.
        chance: Seeded; every draw of this shape comes from it.
        facts: Gets the truth.
        outbox: Gets the messages.
        invalid_kinds: Names of `broken.KINDS`, endless, shared by all shapes.
    """

    def __init__(
        self,
        spec: StreamSpec,
        chance: random.Random,
        facts: Facts,
        outbox: Outbox,
        invalid_kinds: Iterator[str],
    ) -> None:
        self.stream_id = spec.stream_id
        self.chance = chance
        self.facts = facts
        self.outbox = outbox
        self.calendar = Calendar()
        self._invalid_kinds = invalid_kinds
        self._head = (
            f'{{"tenant_id":"{spec.tenant_id}","reconciliation_id":"{spec.reconciliation_id}"'
        )
        self._key_head = f"{spec.tenant_id}:{spec.reconciliation_id}:"
        self.scenarios: dict[str, Callable[[int, int], None]] = {
            "late": self.late,
            "redelivered": self.redelivered,
            "conflicting": self.conflicting,
            "missing_in_target": self.missing_in_target,
            "missing_in_source": self.missing_in_source,
            "amount_off": self.amount_off,
            "invalid": self.invalid,
        }

    def legs(
        self, number: int, at_us: int, *, off_minor: int = 0, currency: str | None = None
    ) -> tuple[str, list[Leg]]:
        """The rule that matches event `number`, and its legs, sources first.

        Args:
            number: Counts from 0 in this stream; ids and references derive from it.
            at_us: Event time of the first leg.
            off_minor: Added to the target's amount.
            currency: Replaces the target's currency; as many fraction digits.
        """
        raise NotImplementedError

    def leg(
        self,
        side: int,
        transaction_id: str,
        amount: tuple[int, str, int],
        occurred: str,
        reference: str,
        rest: str,
    ) -> Leg:
        """Write one record; `amount` is minor units, currency and digits, `rest` JSON members."""
        minor, currency, digits = amount
        # Now and then an amount is a JSON number: it is to be taken as written, like the others.
        quote = "" if minor & 63 == 0 else '"'
        value = (
            f'{self._head},"transaction_id":"{transaction_id}",'
            f'"amount":{quote}{amount_text(minor, digits)}{quote},"currency":"{currency}",'
            f'"occurred_at":"{occurred}","reference":"{reference}"{rest}}}'
        )
        key = (self._key_head + reference.strip()).encode()
        return Leg(side, key, transaction_id, minor, currency, value.encode())

    def send(self, legs: Sequence[Leg]) -> None:
        """Send legs now and count them as accepted."""
        accept, now, stream_id = self.facts.accept, self.outbox.now, self.stream_id
        for leg in legs:
            side = leg.side
            accept(stream_id, side, leg.currency, leg.amount_minor)
            now((side, leg.key, leg.value))

    def send_later(self, at_us: int, leg: Leg) -> None:
        """Send one leg at or after that event time and count it as accepted."""
        self.facts.accept(self.stream_id, leg.side, leg.currency, leg.amount_minor)
        self.outbox.later(at_us, (leg.side, leg.key, leg.value))

    def match(self, rule: str, legs: Sequence[Leg], status: str = "confirmed") -> None:
        """Write down that these legs are one match."""
        sources = tuple(sorted([leg.transaction_id for leg in legs if leg.side == SOURCE]))
        targets = tuple(sorted([leg.transaction_id for leg in legs if leg.side == TARGET]))
        self.facts.matches.append(MatchFact(self.stream_id, rule, status, sources, targets))

    def unmatched(self, category: str, legs: Sequence[Leg]) -> None:
        """Write down that each of these legs stays an open exception."""
        self.facts.exceptions.extend(
            ExceptionFact(self.stream_id, SIDE_NAMES[leg.side], leg.transaction_id, category)
            for leg in legs
        )

    def plain(self, number: int, at_us: int) -> None:
        """Everything arrives and agrees."""
        rule, legs = self.legs(number, at_us)
        self.send(legs)
        self.match(rule, legs)

    def late(self, number: int, at_us: int) -> None:
        """One leg arrives behind event time, every third time after its exception has opened."""
        rule, legs = self.legs(number, at_us)
        held = self.chance.randrange(len(legs))
        delay_us = LATENESS_US * (2 + self.chance.randrange(4))
        if self.chance.randrange(3) == 0:
            delay_us += WAIT_US
        self.send(legs[:held] + legs[held + 1 :])
        self.send_later(at_us + delay_us, legs[held])
        self.match(rule, legs)

    def redelivered(self, number: int, at_us: int) -> None:
        """One leg comes twice, byte for byte or in another notation of the same content."""
        rule, legs = self.legs(number, at_us)
        self.send(legs)
        self.match(rule, legs)
        leg = self.chance.choice(legs)
        value = leg.value
        if self.chance.getrandbits(1):
            value = value.replace(b'","', b'", "')
        at_us += self.chance.randrange(LATENESS_US * 8)
        self.outbox.later(at_us, (leg.side, leg.key, value))
        self.facts.redelivered[self.stream_id] += 1

    def conflicting(self, number: int, at_us: int) -> None:
        """An id comes again with another amount; the first content wins."""
        rule, legs = self.legs(number, at_us)
        self.send(legs)
        self.match(rule, legs)
        _, changed = self.legs(number, at_us, off_minor=1000)
        leg = changed[-1]
        # The key of the first content: only behind it is this one surely the second.
        self.outbox.later(at_us + LATENESS_US, (leg.side, legs[-1].key, leg.value))
        self.dead(leg.side, "conflicting_duplicate", leg.transaction_id, leg.value)

    def missing_in_target(self, number: int, at_us: int) -> None:
        """Only the source side arrives."""
        sources = [leg for leg in self.legs(number, at_us)[1] if leg.side == SOURCE]
        self.send(sources)
        self.unmatched("missing_in_target", sources)

    def missing_in_source(self, number: int, at_us: int) -> None:
        """Only the target side arrives."""
        targets = [leg for leg in self.legs(number, at_us)[1] if leg.side == TARGET]
        self.send(targets)
        self.unmatched("missing_in_source", targets)

    def amount_off(self, number: int, at_us: int) -> None:
        """Everything arrives, but the amounts differ by more than any rule allows."""
        _, legs = self.legs(number, at_us, off_minor=1001 + self.chance.randrange(5000))
        self.send(legs)
        self.unmatched("amount_mismatch", legs)

    def currency_off(self, number: int, at_us: int) -> None:
        """Both legs arrive with the same number, in two currencies."""
        _, legs = self.legs(number, at_us, currency="SEK")
        self.send(legs)
        self.unmatched("currency_mismatch", legs)

    def invalid(self, number: int, at_us: int) -> None:
        """A record that cannot be used, of the next kind in turn."""
        kind = next(self._invalid_kinds)
        leg = self.chance.choice(self.legs(number, at_us)[1])
        record = broken.KINDS[kind](leg.value)
        self.outbox.now((leg.side, leg.key, record.value))
        self.dead(leg.side, record.code, record.readable_id(leg.transaction_id), record.value)

    def dead(self, side: int, code: str, transaction_id: str | None, value: bytes) -> None:
        """Write down that these bytes are refused."""
        self.facts.dead_letters.append(
            DeadLetterFact(self.stream_id, SIDE_NAMES[side], code, transaction_id, digest(value))
        )
