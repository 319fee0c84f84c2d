"""The rules run over everything at once: brute force, obviously right, slow.

It shares nothing with the engine but the definition's data classes and the transaction record.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from itertools import combinations, product
from zoneinfo import ZoneInfo

from domain.definitions import (
    AmountRule,
    Condition,
    DateWindow,
    Definition,
    Rounding,
    Rule,
    Schedule,
)
from domain.money import currency_digits
from domain.transactions import Transaction, field_value, supersedes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EQUALITY = ("exact", "casefold", "alphanumeric", "digits", "regex_extract")
MatchKey = tuple[str, tuple[str, ...], tuple[str, ...]]


@dataclass
class Outcome:
    confirmed: set[MatchKey] = field(default_factory=set)
    suggested: set[MatchKey] = field(default_factory=set)
    duplicates: set[tuple[int, str]] = field(default_factory=set)
    exceptions: set[tuple[int, str]] = field(default_factory=set)


def normal(condition: Condition, side: int, value: str | None) -> str | None:
    """The form in which equality is asked."""
    if value is None:
        return None
    match condition.operator:
        case "exact":
            return value
        case "casefold":
            return value.casefold()
        case "alphanumeric":
            return "".join(c for c in value.casefold() if c.isalnum()) or None
        case "digits":
            return "".join(c for c in value if c.isdecimal()) or None
        case "regex_extract":
            if side == 0:
                return value
            found = re.search(condition.pattern, value)
            return found.group(1) if found else None
    raise AssertionError(condition.operator)


def tokens(value: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in value.casefold()).split()


def edits(left: str, right: str) -> int:
    """Levenshtein distance, row by row."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def common(left: str, right: str) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for a in left:
        before = 0
        for j, b in enumerate(right, 1):
            before, row[j] = row[j], before + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


def text_holds(condition: Condition, left: str | None, right: str | None) -> bool:
    if left is None or right is None:
        return False
    match condition.operator:
        case "token_run":
            ours, theirs = tokens(left), tokens(right)
            return bool(ours) and any(
                theirs[place : place + len(ours)] == ours for place in range(len(theirs))
            )
        case "token_set":
            return bool(tokens(left)) and all(one in tokens(right) for one in tokens(left))
        case "edit_distance":
            return edits(left.casefold(), right.casefold()) <= condition.maximum
        case "similarity":
            a, b = ("".join(c for c in x.casefold() if c.isalnum()) for x in (left, right))
            if not a or not b:
                return False
            return Fraction(2 * common(a, b), len(a) + len(b)) >= Fraction(condition.minimum)
    form = normal(condition, 0, left)
    return form is not None and form == normal(condition, 1, right)


def event_time(definition: Definition, one: Transaction) -> int:
    if not one.is_date:
        return one.occurred_at
    day = (EPOCH + timedelta(microseconds=one.occurred_at)).date()
    end = datetime(
        day.year, day.month, day.day, 23, 59, 59, 999_999, ZoneInfo(definition.time_zone)
    )
    return (end - EPOCH) // timedelta(microseconds=1)


def local_day(zone: str, one: Transaction) -> int:
    moment = EPOCH + timedelta(microseconds=one.occurred_at)
    if not one.is_date:
        moment = moment.astimezone(ZoneInfo(zone))
    return moment.toordinal()


def rounded(value: Fraction, rounding: Rounding | None) -> Fraction:
    if rounding is None:
        return value
    mode = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN}[rounding.mode]
    with localcontext(prec=200):
        # Every value here is a finite decimal.
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        return Fraction(exact.quantize(Decimal(1).scaleb(-rounding.scale), mode))


def after_fees(amount: Fraction, schedule: Schedule) -> Fraction:
    rest = amount
    for fee in schedule.items:
        of = rest if schedule.order == "cascading" else amount
        taken = Fraction(fee.flat) if fee.percent is None else of * Fraction(fee.percent) / 100
        rest -= rounded(taken, schedule.round)
    return rest


def compared(rule: AmountRule, one: Transaction) -> tuple[str, Fraction] | None:
    """What is compared of a transaction, in major units."""
    fee, base_minor, base_currency, rate, rate_to, _ = one.extra or (None,) * 6
    unit = 10 ** currency_digits(one.currency)
    amount, currency = Fraction(one.amount_minor, unit), one.currency
    match (rule.source_basis, rule.target_basis)[one.side]:
        case "net":
            amount -= Fraction(fee or 0, unit)
        case "gross":
            amount += Fraction(fee or 0, unit)
        case "base":
            if base_currency is None:
                return None
            amount = Fraction(base_minor, 10 ** currency_digits(base_currency))
            currency = base_currency
        case "fx":
            if rate is None:
                return None
            amount, currency = amount * Fraction(rate), rate_to
        case "schedule":
            amount = after_fees(amount, rule.schedule)
    return currency, -amount if one.side == 1 and rule.opposite else amount


def side_sum(rule: AmountRule, side: list[Transaction]) -> Fraction:
    return rounded(sum(compared(rule, one)[1] for one in side), rule.round)


def amounts_agree(rule: AmountRule, sources: list[Transaction], targets: list[Transaction]) -> bool:
    values = [[compared(rule, one) for one in side] for side in (sources, targets)]
    if None in values[0] + values[1] or len({one[0] for side in values for one in side}) != 1:
        return False
    source, target = (rounded(sum(x for _, x in side), rule.round) for side in values)
    difference = target - source
    if rule.kind == "equal":
        return difference == 0
    if rule.kind == "bounds":
        low, high = Fraction(rule.low), Fraction(rule.high)
        return low <= difference <= high if rule.inclusive else low < difference < high
    s, t = abs(source), abs(target)
    base = {
        "source": s,
        "target": t,
        "larger": max(s, t),
        "smaller": min(s, t),
        "average": (s + t) / 2,
    }[rule.percent_of]
    limits = []
    if rule.absolute is not None:
        limits.append(Fraction(rule.absolute))
    if rule.percent is not None:
        limits.append(Fraction(rule.percent) / 100 * base)
    limit = max(limits) if rule.combine == "larger" else min(limits)
    return abs(difference) <= limit if rule.inclusive else abs(difference) < limit


def pair_holds(rule: Rule, s: Transaction, t: Transaction) -> bool:
    for condition in rule.conditions:
        left = field_value(s, condition.source_field)
        if not text_holds(condition, left, field_value(t, condition.target_field)):
            return False
    anchored = rule.date is not None and rule.date.anchored
    return rule.date is None or anchored or in_window(rule.date, s, t)


def days_between(window: DateWindow, begin: int, end: int) -> int:
    """Days, or business days, after `begin` up to `end`."""
    if begin > end:
        return -days_between(window, end, begin)
    if not window.business:
        return end - begin
    days = [date.fromordinal(day) for day in range(begin + 1, end + 1)]
    return sum(day.isoweekday() <= 5 and day not in window.holidays for day in days)


def in_window(window: DateWindow, one: Transaction, other: Transaction) -> bool:
    """Whether `other` lies in the window of `one`."""
    if window.min_days is not None or window.max_days is not None:
        begin, end = (local_day(window.time_zone, x) for x in (one, other))
        days = days_between(window, begin, end)
        low, high = window.min_days, window.max_days
        if low is not None and (days < low or (days == low and not window.inclusive)):
            return False
        if high is not None and (days > high or (days == high and not window.inclusive)):
            return False
    if window.max_seconds is not None:
        if one.is_date or other.is_date:
            return False
        apart = Fraction(abs(other.occurred_at - one.occurred_at), 1_000_000)
        if apart > window.max_seconds or (apart == window.max_seconds and not window.inclusive):
            return False
    return True


def anchored(rule: Rule, sources: list[Transaction], targets: list[Transaction]) -> bool:
    members = [*sources, *targets]
    return any(
        all(in_window(rule.date, source, other) for other in members if other is not source)
        for source in sources
    )


def group_holds(rule: Rule, sources: list[Transaction], targets: list[Transaction]) -> bool:
    return (
        all(pair_holds(rule, s, t) for s, t in product(sources, targets))
        and amounts_agree(rule.amount, sources, targets)
        and (rule.date is None or not rule.date.anchored or anchored(rule, sources, targets))
    )


def candidates(
    rule: Rule, sources: list[Transaction], targets: list[Transaction]
) -> list[tuple[tuple[Transaction, ...], tuple[Transaction, ...]]]:
    if rule.max_size is not None:
        return smallest_groups(rule, sources, targets)
    if rule.whole_key is None:
        return [((s,), (t,)) for s, t in product(sources, targets) if group_holds(rule, [s], [t])]
    condition = next(
        c for c in rule.conditions if c.source_field == rule.whole_key and c.operator in EQUALITY
    )
    if rule.match_type == "many_to_many":
        keys = {normal(condition, 0, field_value(s, rule.whole_key)) for s in sources}
        wholes = [
            tuple(
                [one for one in side if normal(condition, one.side, field_value(one, name)) == key]
                for side, name in (
                    (sources, condition.source_field),
                    (targets, condition.target_field),
                )
            )
            for key in keys - {None}
        ]
        return [(tuple(s), tuple(t)) for s, t in wholes if s and t and group_holds(rule, s, t)]
    many, one, field_name = (
        (targets, sources, condition.target_field)
        if rule.match_type == "one_to_many"
        else (sources, targets, condition.source_field)
    )
    groups: dict[str, list[Transaction]] = {}
    for member in many:
        value = normal(condition, member.side, field_value(member, field_name))
        if value is not None:
            groups.setdefault(value, []).append(member)
    found = []
    for group, single in product(groups.values(), one):
        side_s, side_t = ([single], group) if many is targets else (group, [single])
        if group_holds(rule, side_s, side_t):
            found.append((tuple(side_s), tuple(side_t)))
    return found


def some_of(members: list[Transaction], most: int):
    """Every choice of 1…most members."""
    for size in range(1, most + 1):
        yield from combinations(members, size)


def smallest_groups(rule: Rule, sources: list[Transaction], targets: list[Transaction]):
    """By subset search: the smallest groups of each single, or of what smaller ones leave over."""
    if rule.match_type == "many_to_many":
        every = [
            (s, t)
            for s in some_of(sources, rule.max_size)
            for t in some_of(targets, rule.max_size)
            if group_holds(rule, s, t)
        ]
        found, claimed = [], set()
        for size in range(2, 2 * rule.max_size + 1):
            fresh = [
                (s, t)
                for s, t in every
                if len(s) + len(t) == size and not claimed & {*members_in((s, t))}
            ]
            found += fresh
            claimed |= {one for candidate in fresh for one in members_in(candidate)}
        return found
    found = []
    singles = sources if rule.match_type == "one_to_many" else targets
    for single in singles:
        fitting = [
            candidate
            for group in some_of(targets if singles is sources else sources, rule.max_size)
            for candidate in [((single,), group) if singles is sources else (group, (single,))]
            if group_holds(rule, *candidate)
        ]
        sizes = [len(s) + len(t) for s, t in fitting]
        found += [one for one, size in zip(fitting, sizes, strict=True) if size == min(sizes)]
    return found


def members_in(candidate) -> list[tuple[int, str]]:
    return [(one.side, one.transaction_id) for side in candidate for one in side]


def best_first(definition: Definition, rule: Rule, candidate):
    """The order in which a rule that prefers takes its candidates."""
    s, t = candidate
    times = [[event_time(definition, one) for one in side] for side in candidate]
    keys = {
        "fewest_members": len(s) + len(t),
        "closest_amount": abs(side_sum(rule.amount, t) - side_sum(rule.amount, s)),
        "closest_date": max(abs(a - b) for a, b in product(*times)),
        "oldest": sorted(times[0] + times[1]),
        "newest": sorted(-x for x in times[0] + times[1]),
    }
    # Many to many looks for the smallest groups first of all.
    size = len(s) + len(t) if rule.match_type == "many_to_many" else 0
    return (size, *(keys[name] for name in rule.prefer), ids(s), ids(t))


def ids(members: tuple[Transaction, ...]) -> tuple[str, ...]:
    return tuple(sorted(one.transaction_id for one in members))


def connected(found):
    groups = []
    for candidate in found:
        members = {(x.side, x.transaction_id) for side in candidate for x in side}
        merged = [candidate]
        rest = []
        for group_members, group in groups:
            if group_members & members:
                members |= group_members
                merged += group
            else:
                rest.append((group_members, group))
        groups = [*rest, (members, merged)]
    return [group for _, group in groups]


def members_of(matches) -> set[tuple[int, str]]:
    return {(side, one) for match in matches for side in (0, 1) for one in match[1 + side]}


def standing(transactions: list[Transaction]) -> list[Transaction]:
    """Those that no other of them corrects."""
    gone = {(one.side, supersedes(one), one.transaction_id) for one in transactions}

    def corrected(one: Transaction) -> bool:
        return any(
            (side, named) == (one.side, one.transaction_id)
            and not (by == one.transaction_id == supersedes(one))
            for side, named, by in gone
        )

    return [one for one in transactions if not corrected(one)]


def run(  # noqa: C901
    definition: Definition,
    transactions: list[Transaction],
    refused: frozenset[tuple[str | None, tuple[str, ...], tuple[str, ...]]] = frozenset(),
    by_people: frozenset[MatchKey] = frozenset(),
    final: frozenset[MatchKey] = frozenset(),
    duplicates: frozenset[tuple[int, str]] = frozenset(),
) -> Outcome:
    """What CONTRACT §4 says of these transactions, everything known and all time run out.

    Args:
        refused: What people have rejected, by rule, and reversed, by None: rule, source ids and
            target ids in order.
        by_people: Matches that people have made; no rule counts their members, but the values they
            brought were brought.
        final: Matches that rules made before the newest of these transactions came.
        duplicates: Set aside before that.
    """
    outcome = Outcome(set(by_people), set(), set(duplicates))
    by_hand = members_of(by_people)
    gone: set[tuple[int, str]] = by_hand | duplicates
    later = members_of(final)
    ambiguous_sets = []

    def is_open(candidate) -> bool:
        return not any((x.side, x.transaction_id) in later for side in candidate for x in side)

    def left(side: int) -> list[Transaction]:
        return [
            one
            for one in transactions
            if one.side == side and (side, one.transaction_id) not in gone
        ]

    def take(rule: Rule, candidate) -> None:
        outcome.confirmed.add((rule.name, ids(candidate[0]), ids(candidate[1])))
        gone.update((one.side, one.transaction_id) for side in candidate for one in side)

    for rule in definition.rules:
        made = {one for one in final if one[0] == rule.name}
        outcome.confirmed |= made
        gone |= members_of(made)
        later -= members_of(made)
        unique = next((c for c in rule.conditions if c.unique), None)
        if unique is not None:
            for side, name in ((0, unique.source_field), (1, unique.target_field)):
                spent = members_of(made) | by_hand
                seen = {
                    normal(unique, side, field_value(one, name))
                    for one in transactions
                    if (one.side, one.transaction_id) in spent and one.side == side
                }
                for one in sorted(
                    left(side), key=lambda x: (event_time(definition, x), x.transaction_id)
                ):
                    value = normal(unique, side, field_value(one, name))
                    if value is not None:
                        if value in seen:
                            outcome.duplicates.add((side, one.transaction_id))
                            gone.add((side, one.transaction_id))
                        seen.add(value)

        def offered(sources, targets, rule=rule):
            return [
                c
                for c in candidates(rule, sources, targets)
                if (rule.name, ids(c[0]), ids(c[1])) not in refused
                and (None, ids(c[0]), ids(c[1])) not in refused
            ]

        if rule.selection in ("lowest_id", "prefer") or unique is not None:
            # A whole group is whole before the first is taken, or not at all.
            whole = offered(left(0), left(1)) if rule.whole_key is not None else None
            chosen: set[tuple[int, str]] = set()
            while True:
                apart = chosen if rule.outcome == "suggest" else later
                sides = [
                    [one for one in left(side) if (side, one.transaction_id) not in apart]
                    for side in (0, 1)
                ]
                found = offered(*sides) if whole is None else whole
                free = [
                    c
                    for c in found
                    if not (gone | chosen) & {*members_in(c)}
                    and (rule.outcome == "suggest" or is_open(c))
                ]
                if not free:
                    break
                best = min(free, key=lambda c: best_first(definition, rule, c))
                if rule.outcome == "suggest":
                    chosen.update(members_in(best))
                    ambiguous_sets.append((rule, [best]))
                else:
                    take(rule, best)
            continue
        groups = connected(offered(left(0), left(1)))
        for group in groups:
            if len(group) == 1 and is_open(group[0]):
                if rule.outcome == "suggest":
                    ambiguous_sets.append((rule, group))
                else:
                    take(rule, group[0])
        if rule.selection == "suggest":
            ambiguous_sets += [(rule, group) for group in groups if len(group) > 1]
    suggested_members: list[frozenset[tuple[int, str]]] = []
    for rule, group in ambiguous_sets:
        rest = [
            c for c in group if not any((x.side, x.transaction_id) in gone for s in c for x in s)
        ]
        for part in connected(rest):
            sources = tuple({x for c in part for x in ids(c[0])})
            targets = tuple({x for c in part for x in ids(c[1])})
            members = frozenset([(0, x) for x in sources] + [(1, x) for x in targets])
            if (rule.name, tuple(sorted(sources)), tuple(sorted(targets))) in refused:
                continue
            if not any(members <= earlier for earlier in suggested_members):
                suggested_members.append(members)
                outcome.suggested.add((rule.name, tuple(sorted(sources)), tuple(sorted(targets))))
    asked = {member for members in suggested_members for member in members}
    outcome.exceptions = {(one.side, one.transaction_id) for one in transactions} - gone - asked
    return outcome
