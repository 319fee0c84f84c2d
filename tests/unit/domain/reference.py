"""The rules run over everything at once: brute force, obviously right, slow.

It shares nothing with the engine but the definition's data classes and the transaction record.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import product
from zoneinfo import ZoneInfo

from domain.definitions import AmountRule, Definition, Rule
from domain.money import currency_digits
from domain.transactions import Transaction, field_value, supersedes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MatchKey = tuple[str, tuple[str, ...], tuple[str, ...]]


@dataclass
class Outcome:
    confirmed: set[MatchKey] = field(default_factory=set)
    suggested: set[MatchKey] = field(default_factory=set)
    duplicates: set[tuple[int, str]] = field(default_factory=set)
    exceptions: set[tuple[int, str]] = field(default_factory=set)


def normal(operator: str, value: str | None) -> str | None:
    if value is None:
        return None
    if operator == "exact":
        return value
    if operator == "casefold":
        return value.casefold()
    return "".join(c for c in value.casefold() if c.isalnum()) or None


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


def amounts_agree(rule: AmountRule, currency: str, source: int, target: int) -> bool:
    difference = target - source
    unit = 10 ** currency_digits(currency)
    if rule.kind == "equal":
        return difference == 0
    if rule.kind == "bounds":
        low, high = Fraction(rule.low) * unit, Fraction(rule.high) * unit
        return low <= difference <= high if rule.inclusive else low < difference < high
    s, t = abs(source), abs(target)
    base = {
        "source": Fraction(s),
        "target": Fraction(t),
        "larger": Fraction(max(s, t)),
        "smaller": Fraction(min(s, t)),
        "average": Fraction(s + t, 2),
    }[rule.percent_of]
    limits = []
    if rule.absolute is not None:
        limits.append(Fraction(rule.absolute) * unit)
    if rule.percent is not None:
        limits.append(Fraction(rule.percent) / 100 * base)
    limit = max(limits) if rule.combine == "larger" else min(limits)
    return abs(difference) <= limit if rule.inclusive else abs(difference) < limit


def pair_holds(rule: Rule, s: Transaction, t: Transaction) -> bool:
    if s.currency != t.currency:
        return False
    for condition in rule.conditions:
        left = normal(condition.operator, field_value(s, condition.source_field))
        right = normal(condition.operator, field_value(t, condition.target_field))
        if left is None or left != right:
            return False
    if rule.date is not None:
        zone = rule.date.time_zone
        days = local_day(zone, t) - local_day(zone, s)
        low, high = rule.date.min_days, rule.date.max_days
        if low is not None and (days < low or (days == low and not rule.date.inclusive)):
            return False
        if high is not None and (days > high or (days == high and not rule.date.inclusive)):
            return False
    return True


def group_holds(rule: Rule, sources: list[Transaction], targets: list[Transaction]) -> bool:
    return all(pair_holds(rule, s, t) for s, t in product(sources, targets)) and amounts_agree(
        rule.amount,
        sources[0].currency,
        sum(s.amount_minor for s in sources),
        sum(t.amount_minor for t in targets),
    )


def candidates(
    rule: Rule, sources: list[Transaction], targets: list[Transaction]
) -> list[tuple[tuple[Transaction, ...], tuple[Transaction, ...]]]:
    if rule.whole_key is None:
        return [((s,), (t,)) for s, t in product(sources, targets) if group_holds(rule, [s], [t])]
    condition = next(c for c in rule.conditions if c.source_field == rule.whole_key)
    many, one, field_name = (
        (targets, sources, condition.target_field)
        if rule.match_type == "one_to_many"
        else (sources, targets, condition.source_field)
    )
    groups: dict[str, list[Transaction]] = {}
    for member in many:
        value = normal(condition.operator, field_value(member, field_name))
        if value is not None:
            groups.setdefault(value, []).append(member)
    found = []
    for group, single in product(groups.values(), one):
        side_s, side_t = ([single], group) if many is targets else (group, [single])
        if group_holds(rule, side_s, side_t):
            found.append((tuple(side_s), tuple(side_t)))
    return found


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
                    normal(unique.operator, field_value(one, name))
                    for one in transactions
                    if (one.side, one.transaction_id) in spent and one.side == side
                }
                for one in sorted(
                    left(side), key=lambda x: (event_time(definition, x), x.transaction_id)
                ):
                    value = normal(unique.operator, field_value(one, name))
                    if value is not None:
                        if value in seen:
                            outcome.duplicates.add((side, one.transaction_id))
                            gone.add((side, one.transaction_id))
                        seen.add(value)
        found = [
            c
            for c in candidates(rule, left(0), left(1))
            if (rule.name, ids(c[0]), ids(c[1])) not in refused
            and (None, ids(c[0]), ids(c[1])) not in refused
        ]
        if rule.selection == "lowest_id" or unique is not None:
            chosen: set[tuple[int, str]] = set()
            while True:
                free = [
                    c
                    for c in found
                    if not any((x.side, x.transaction_id) in gone | chosen for s in c for x in s)
                    and (rule.outcome == "suggest" or is_open(c))
                ]
                if not free:
                    break
                best = min(free, key=lambda c: (ids(c[0]), ids(c[1])))
                if rule.outcome == "suggest":
                    chosen.update((x.side, x.transaction_id) for s in best for x in s)
                    ambiguous_sets.append((rule, [best]))
                else:
                    take(rule, best)
            continue
        groups = connected(found)
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
