"""The three shapes of reconciliation: their pairs and groups, and what can go wrong only there."""

import random
from collections.abc import Iterator

from connectors.synthetic.definitions import (
    RULE_CUSTOMER,
    RULE_INVOICE,
    RULE_ORDER,
    RULE_PAYOUT,
    SETTLING,
    UNIQUE_REFERENCE,
    WHOLE_KEY,
    StreamSpec,
)
from connectors.synthetic.facts import Facts
from connectors.synthetic.records import CURRENCIES, NAMES, TWO_DIGITS, Leg, scattered
from connectors.synthetic.scenarios import LATENESS_US, LEG_DELAY_MS, Outbox, Shape
from domain.transactions import SOURCE, TARGET


class UniqueReference(Shape):
    """Orders and charges: one reference, occurring once on each side, equal amounts."""

    def __init__(
        self,
        spec: StreamSpec,
        chance: random.Random,
        facts: Facts,
        outbox: Outbox,
        invalid_kinds: Iterator[str],
    ) -> None:
        super().__init__(spec, chance, facts, outbox, invalid_kinds)
        self.scenarios |= {"currency_off": self.currency_off, "repeated": self.repeated}

    def legs(
        self, number: int, at_us: int, *, off_minor: int = 0, currency: str | None = None
    ) -> tuple[str, list[Leg]]:
        """One order and one charge."""
        own, digits = CURRENCIES[number % len(CURRENCIES)] if currency is None else ("EUR", 2)
        minor = 100 + number * 7919 % 999_983
        reference = f"ORD-{number:09d}"
        rest = f',"counterparty":"{NAMES[number % 6]}","attributes":{{"channel":"web"}}'
        delay_us = number * 104_729 % LEG_DELAY_MS * 1000
        return RULE_ORDER, [
            self.leg(
                SOURCE,
                f"order-{scattered(number, 1)}",
                (minor, own, digits),
                self.calendar.instant(at_us),
                reference,
                rest,
            ),
            self.leg(
                TARGET,
                f"ch_{scattered(number, 2)}",
                (minor + off_minor, currency or own, digits),
                self.calendar.instant(at_us + delay_us),
                reference if number % 5 else f" {reference} ",
                ',"description":"card charge","fee":"0.25"' if digits == 2 else "",
            ),
        ]

    def repeated(self, number: int, at_us: int) -> None:
        """A second record takes a reference that occurs once: it is the duplicate."""
        rule, legs = self.legs(number, at_us)
        self.send(legs)
        self.match(rule, legs)
        leg = self.chance.choice(legs)
        again = f"{leg.transaction_id}-again"
        _, second = self.legs(number, at_us + LATENESS_US)
        copy = second[leg.side]
        copy.transaction_id, copy.value = (
            again,
            copy.value.replace(leg.transaction_id.encode(), again.encode()),
        )
        self.send_later(at_us + LATENESS_US, copy)
        self.unmatched("duplicate", [copy])


class Settling(Shape):
    """Invoices and bank entries: a tolerance, value dates, and a second rule without reference."""

    def __init__(
        self,
        spec: StreamSpec,
        chance: random.Random,
        facts: Facts,
        outbox: Outbox,
        invalid_kinds: Iterator[str],
    ) -> None:
        super().__init__(spec, chance, facts, outbox, invalid_kinds)
        self.scenarios |= {
            "currency_off": self.currency_off,
            "within_tolerance": self.within_tolerance,
            "date_off": self.date_off,
            "ambiguous": self.ambiguous,
            "decoy": self.decoy,
        }

    def legs(
        self,
        number: int,
        at_us: int,
        *,
        off_minor: int = 0,
        currency: str | None = None,
        days: int | None = None,
        tag: str = "",
        named: bool | None = None,
    ) -> tuple[str, list[Leg]]:
        """One invoice with an instant and one bank entry with a bare date.

        Args:
            number: As in `Shape.legs`, like the next three.
            at_us: Event time.
            off_minor: Added to the target's amount.
            currency: Replaces the target's.
            days: From the invoice's day to the value date; by itself anything the rules allow.
            tag: Ends both ids, for further pairs of the same number.
            named: Whether the records carry the invoice number; if not, the customer decides.
        """
        own, digits = TWO_DIGITS[number % len(TWO_DIGITS)]
        minor = 100 + number * 7919 % 999_983
        if named is None:
            named = number % 8 != 0 or off_minor != 0
        if days is None:
            days = (0, 0, 0, 1, 1, 2, 3, -1)[number % 7 + (number & 1)]
        reference, printed = (
            (f"INV-2026/{number:08d}", f"inv 2026 {number:08d}") if named else ("", "  ")
        )
        name = f"{NAMES[number % 6]} {number:08d}"
        return RULE_INVOICE if named else RULE_CUSTOMER, [
            self.leg(
                SOURCE,
                f"inv-{scattered(number, 3)}{tag}",
                (minor, own, digits),
                self.calendar.instant(at_us),
                reference,
                f',"counterparty":"{name}"',
            ),
            self.leg(
                TARGET,
                f"bank-{scattered(number, 4)}{tag}",
                (minor + off_minor, currency or own, digits),
                self.calendar.bank_date(at_us, days),
                printed,
                f',"counterparty":"{name.upper()}","description":"credit transfer"',
            ),
        ]

    def amount_off(self, number: int, at_us: int) -> None:
        """One minor unit past the tolerance, on either side of it."""
        off = self._tolerance_minor(number) + 1
        _, legs = self.legs(number, at_us, off_minor=-off if number & 1 else off)
        self.send(legs)
        self.unmatched("amount_mismatch", legs)

    def within_tolerance(self, number: int, at_us: int) -> None:
        """The amounts differ by no more than allowed, every other time by exactly that."""
        off = self._tolerance_minor(number)
        if number & 1:
            off = 1 + self.chance.randrange(off)
        rule, legs = self.legs(number, at_us, off_minor=-off if number & 2 else off)
        self.send(legs)
        self.match(rule, legs)

    def _tolerance_minor(self, number: int) -> int:
        # The larger of 0.50 and half a percent of the source, as the definition says.
        minor = 100 + number * 7919 % 999_983
        return max(50, minor * 5 // 1000)

    def currency_off(self, number: int, at_us: int) -> None:
        """Both legs carry the invoice number and the same figure, in two currencies."""
        _, legs = self.legs(number, at_us, currency="SEK", named=True)
        self.send(legs)
        self.unmatched("currency_mismatch", legs)

    def date_off(self, number: int, at_us: int) -> None:
        """The value date lies a week before the invoice."""
        _, legs = self.legs(number, at_us, days=-7, named=True)
        self.send(legs)
        self.unmatched("date_mismatch", legs)

    def ambiguous(self, number: int, at_us: int) -> None:
        """Two like invoices and two like entries of one customer: a person has to say."""
        rule, legs = self.legs(number, at_us, days=0, named=False)
        _, others = self.legs(number, at_us, days=0, named=False, tag="-b")
        self.send(legs + others)
        self.match(rule, legs + others, "suggested")

    def decoy(self, number: int, at_us: int) -> None:
        """Two entries could settle one invoice; the lower id wins, however late it comes."""
        rule, legs = self.legs(number, at_us, days=0, named=True)
        _, decoys = self.legs(number, at_us, days=0, named=True, tag="-decoy")
        self.send([decoys[1], *legs])
        self.match(rule, legs)
        self.unmatched("missing_in_source", decoys[1:])


class WholeKey(Shape):
    """Sales and payouts: all sales with one payout's reference add up to it."""

    def legs(
        self, number: int, at_us: int, *, off_minor: int = 0, currency: str | None = None
    ) -> tuple[str, list[Leg]]:
        """One to six sales, every ninth a refund, and their payout."""
        own, digits = TWO_DIGITS[number % len(TWO_DIGITS)]
        reference = f"PAYOUT-{number:08d}"
        legs = []
        total = 0
        step_us = LEG_DELAY_MS * 1000 // 8
        for line in range(1 + number % 6):
            minor = 500 + (number * 31 + line * 7919) % 99_991
            if line and (number + line) % 9 == 0:
                minor = -(minor % 400 + 1)
            total += minor
            occurred = self.calendar.instant(at_us + line * step_us)
            sale = f"sale-{scattered(number, 5)}-{line}"
            legs.append(self.leg(SOURCE, sale, (minor, own, digits), occurred, reference, ""))
        payout = f"po-{scattered(number, 6)}"
        occurred = self.calendar.instant(at_us + 7 * step_us)
        amount = (total + off_minor, currency or own, digits)
        legs.append(self.leg(TARGET, payout, amount, occurred, reference, ""))
        return RULE_PAYOUT, legs


SHAPES: dict[str, type[Shape]] = {
    UNIQUE_REFERENCE: UniqueReference,
    SETTLING: Settling,
    WHOLE_KEY: WholeKey,
}
