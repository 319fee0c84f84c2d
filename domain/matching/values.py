"""What a rule compares of a transaction: its basis, in integers of a scale fine enough to be exact.

A *value* is (currency, units), a unit being a power of ten of the currency's major unit. The power
is chosen per rule so that no basis of it, not even an amount times an 18-digit rate, has to be
rounded; rounding happens where the definition says so and nowhere else.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

from domain.definitions import AmountRule, Basis, Rounding, Schedule
from domain.money import CURRENCY_DIGITS, split_decimal
from domain.transactions import SOURCE, Transaction

#: (currency, units); None where the transaction lacks what the basis needs.
Value = tuple[str, int]
ValueOf = Callable[[Transaction], Value | None]

# An amount has up to 4 fraction digits and a rate up to 18; the currency converted to may have 0.
_RATE_DIGITS = 22


def divide_rounded(numerator: int, divisor: int, mode: str) -> int:
    """Divide, rounding half to even or half away from zero.

    Args:
        divisor: Above zero.
        mode: `half_even` or `half_up`.
    """
    quotient, rest = divmod(abs(numerator), divisor)
    if 2 * rest > divisor or (2 * rest == divisor and (mode == "half_up" or quotient % 2)):
        quotient += 1
    return quotient if numerator >= 0 else -quotient


def extra_digits(rule: AmountRule) -> int:
    """How many digits below the currency's minor unit a rule counts in."""
    bases = (rule.source_basis, rule.target_basis)
    digits = _RATE_DIGITS if "fx" in bases else 0
    schedule = rule.schedule
    if schedule is None or "schedule" not in bases:
        return digits
    if schedule.round is not None:
        return max(digits, schedule.round.scale)
    shares = [split_decimal(fee.percent)[1] + 2 for fee in schedule.items if fee.percent]
    flats = [split_decimal(fee.flat)[1] for fee in schedule.items if fee.flat]
    if schedule.order == "cascading":
        # Each percentage is taken of what the fees before left over, flat ones included.
        return max(digits, max(flats, default=0) + sum(shares))
    return max(digits, *flats, *shares)


class Comparison:
    """How a rule's amounts are read.

    Attributes:
        extra: Digits below the minor unit that units are counted in.
        as_it_is: Both sides are compared by their amounts as they are, but for a target's sign.
    """

    def __init__(self, rule: AmountRule) -> None:
        self.extra = extra_digits(rule)
        self.as_it_is = rule.source_basis == rule.target_basis == "amount" and rule.round is None
        self.target_sign = -1 if rule.opposite else 1
        self._round = rule.round
        self._readers = tuple(
            _reader(basis, rule.schedule, self.extra)
            for basis in (rule.source_basis, rule.target_basis)
        )

    def value(self, transaction: Transaction) -> Value | None:
        """What is compared of one transaction, before rounding; a target's sign is turned."""
        value = self._readers[transaction.side](transaction)
        if value is None or transaction.side == SOURCE or self.target_sign == 1:
            return value
        return value[0], -value[1]

    @property
    def rounds(self) -> bool:
        """Whether the sum of a side is rounded before comparing."""
        return self._round is not None

    def step(self, currency: str) -> int:
        """What sums in a currency are rounded to multiples of."""
        finer = 0
        if self._round is not None:
            finer = max(0, CURRENCY_DIGITS[currency] + self.extra - self._round.scale)
        step: int = 10**finer
        return step

    def rounded(self, currency: str, units: int) -> int:
        """Round the sum of a side, as the rule says."""
        step = self.step(currency)
        if self._round is None or step == 1:
            return units
        return divide_rounded(units, step, self._round.mode) * step

    def side(self, values: Sequence[Value | None]) -> Value | None:
        """The value of a whole side; None if a member lacks one or their currencies differ."""
        total = 0
        currency: str | None = None
        for value in values:
            if value is None or value[0] != (currency or value[0]):
                return None
            currency = value[0]
            total += value[1]
        return None if currency is None else (currency, self.rounded(currency, total))

    def decimal(self, value: Value) -> Decimal:
        """A value in major units, exactly, without superfluous zeros beyond the minor unit."""
        digits, extra = CURRENCY_DIGITS[value[0]], self.extra
        units = value[1]
        while extra and units % 10 == 0:
            units, extra = units // 10, extra - 1
        return Decimal((units < 0, tuple(map(int, str(abs(units)))), -digits - extra))

    def minor(self, value: Value) -> int:
        """A value in minor units for people to read, rounded half to even."""
        return divide_rounded(value[1], 10**self.extra, "half_even")


def _reader(basis: Basis, schedule: Schedule | None, extra: int) -> ValueOf:
    finer: int = 10**extra
    match basis:
        case "amount":
            return lambda one: (one.currency, one.amount_minor * finer)
        case "net":
            return lambda one: (one.currency, (one.amount_minor - _fee(one)) * finer)
        case "gross":
            return lambda one: (one.currency, (one.amount_minor + _fee(one)) * finer)
        case "base":
            return lambda one: _base(one, finer)
        case "fx":
            return lambda one: _converted(one, extra)
        case "schedule":
            assert schedule is not None
            return lambda one: (one.currency, _after_fees(one, schedule, extra))


def _fee(transaction: Transaction) -> int:
    extra = transaction.extra
    return (extra[0] or 0) if extra is not None else 0


def _base(transaction: Transaction, finer: int) -> Value | None:
    if transaction.extra is None:
        return None
    _, base_minor, base_currency, *_ = transaction.extra
    if base_minor is None or base_currency is None:
        return None
    return base_currency, base_minor * finer


def _converted(transaction: Transaction, extra: int) -> Value | None:
    if transaction.extra is None:
        return None
    *_, rate_text, currency, _ = transaction.extra
    if rate_text is None or currency is None:
        return None
    rate, rate_digits = split_decimal(Decimal(rate_text))
    finer = CURRENCY_DIGITS[currency] + extra - CURRENCY_DIGITS[transaction.currency] - rate_digits
    units: int = transaction.amount_minor * rate * 10**finer
    return currency, units


def _after_fees(transaction: Transaction, schedule: Schedule, extra: int) -> int:
    """The amount less the fees of a schedule, in units.

    A percentage has the sign of the amount it is taken of, so that a refund gives fees back; a flat
    fee is taken off as it stands.
    """
    scale = CURRENCY_DIGITS[transaction.currency] + extra
    gross: int = transaction.amount_minor * 10**extra
    rest = gross
    for fee in schedule.items:
        of = gross if schedule.order == "parallel" else rest
        if fee.percent is not None:
            share, digits = split_decimal(fee.percent)
            numerator, fraction_digits = of * share, scale + digits + 2
        else:
            assert fee.flat is not None
            numerator, fraction_digits = split_decimal(fee.flat)
        rest -= _at_scale(numerator, fraction_digits, scale, schedule.round)
    return rest


def _at_scale(numerator: int, digits: int, scale: int, rounding: Rounding | None) -> int:
    """A fee of so many fraction digits in units of `scale` digits, rounded if the schedule says."""
    if rounding is not None and digits > rounding.scale:
        divisor: int = 10 ** (digits - rounding.scale)
        numerator = divide_rounded(numerator, divisor, rounding.mode)
        digits = rounding.scale
    if digits <= scale:
        units: int = numerator * 10 ** (scale - digits)
        return units
    # The scale was chosen so that what is not rounded ends within it.
    units, lost = divmod(numerator, 10 ** (digits - scale))
    assert not lost, "the scale of the rule is too coarse for its schedule"
    return units
