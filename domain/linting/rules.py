"""What one rule, by itself, may match wrongly."""

from domain.definitions import EQUALITY_OPERATORS, Condition, DateWindow, Definition, Rule
from domain.instants import DAY_US
from domain.linting.findings import Finding, Place, fields_of

# Two references of eight letters and digits that differ in one are 0.875 alike.
_REFERENCE_LENGTH = 8
_EDITS_OF_NAMES = 3
_LIKENESS_OF_NAMES_PERCENT = 70
# Fields whose values say who paid or what for, and so come again by themselves.
_RECURRING_FIELDS = ("counterparty", "description")


def lint_rule(place: Place) -> None:
    """Note what a rule may match wrongly, whatever the data."""
    _lint_settle(place)
    _lint_choice(place)
    _lint_evidence(place)
    _lint_recurrence(place)
    _lint_likeness(place)
    _lint_groups(place)


def lint_window(definition: Definition, findings: list[Finding]) -> None:
    """Note date windows that reach further than a transaction waits."""
    wait_us = definition.window.wait_us
    for index, rule in enumerate(definition.rules):
        days = 0 if rule.date is None else reach_days(rule.date)
        if days * DAY_US > wait_us:
            findings.append(
                Finding(
                    "window.wait",
                    rule.name,
                    "warning",
                    "wait_shorter_than_window",
                    f"'{rule.name}' (rules[{index}]) accepts a counterpart up to {days} calendar "
                    "days away, but a transaction becomes an exception before that: people are "
                    f"sent after matches that are still to come. Set window.wait to P{days + 1}D "
                    "or more, or narrow the date window.",
                )
            )


def reach_days(window: DateWindow) -> int:
    """How many calendar days may lie between two members."""
    reach = max(abs(window.min_days or 0), abs(window.max_days or 0))
    # Each five business days have a weekend in them, and the last ones may straddle another.
    return reach + 2 * (-(-reach // 5)) if window.business else reach


def is_reference(condition: Condition) -> bool:
    """Whether a condition compares what names a transaction rather than a person."""
    if condition.operator in ("regex_extract", "token_run", "token_set"):
        # A text that holds the other side's reference; a name inside a text is just a name.
        return condition.source_field not in _RECURRING_FIELDS
    fields = (condition.source_field, condition.target_field)
    return any(field not in _RECURRING_FIELDS for field in fields)


def is_unique(rule: Rule) -> bool:
    """Whether a value of the rule occurs once per side."""
    return any(condition.unique for condition in rule.conditions)


def _has_reference(rule: Rule) -> bool:
    return any(is_reference(condition) for condition in rule.conditions)


def _lint_settle(place: Place) -> None:
    rule = place.rule
    if rule.immediate and not is_unique(rule):
        place.say(
            "warning",
            "immediate_without_unique",
            "This rule confirms the first counterpart that arrives, and a better one that comes a "
            "second later is left over: the result depends on the order of arrival. Mark the "
            "condition whose value occurs once per side with unique: true, or leave settle out.",
            "settle",
        )


def _lint_choice(place: Place) -> None:
    rule = place.rule
    if is_unique(rule) or rule.selection not in ("lowest_id", "prefer"):
        return
    if not _has_reference(rule):
        how = (
            "the one with the lowest id"
            if rule.selection == "lowest_id"
            else f"one by {', '.join(rule.prefer)}"
        )
        place.say(
            "warning",
            "choice_without_reference",
            f"Of several transactions that fit, this rule confirms {how}, and nothing but the "
            "amount, a name or a date says that the two belong together: two customers who pay the "
            "same sum are matched to each other's orders. Compare a reference, or use "
            "selection: {ambiguity: suggest} so that a person chooses.",
            "selection",
        )
        return
    if rule.amount.kind == "equal":
        return
    if rule.selection == "lowest_id":
        place.say(
            "warning",
            "lowest_id_within_tolerance",
            "Of several counterparts within the limits this rule confirms the one with the lowest "
            "id, even if another has the very amount. Use "
            "selection: {prefer: [closest_amount]}.",
            "selection.tie_break",
        )
    elif "closest_amount" not in rule.prefer:
        place.say(
            "hint",
            "choice_ignores_amount",
            "Of several counterparts within the limits this rule may confirm one whose amount is "
            "further off than another's. Name closest_amount among what it prefers.",
            "selection.prefer",
        )


def _lint_evidence(place: Place) -> None:
    rule = place.rule
    if rule.conditions:
        return
    if rule.date is None:
        place.say(
            "warning",
            "amount_only",
            "Nothing is compared but the amount: two transactions a year apart that happen to cost "
            "the same are confirmed as one. Add a condition, or at least a date window.",
            "conditions",
        )
    elif rule.amount.kind != "equal":
        place.say(
            "warning",
            "near_amount_only",
            "Nothing is compared but the date and a near amount, so unrelated transactions of "
            "similar amounts are confirmed. Add a condition, or ask for equal amounts.",
            "conditions",
        )
    else:
        place.say(
            "hint",
            "amount_and_date_only",
            "Nothing is compared but amount and date: where only one pair fits it is confirmed, "
            "also if the true counterpart never came. Keep the window narrow.",
            "conditions",
        )


def _lint_recurrence(place: Place) -> None:
    rule = place.rule
    if rule.date is not None or not rule.conditions or is_unique(rule) or _has_reference(rule):
        return
    named = " and ".join(dict.fromkeys(map(fields_of, rule.conditions)))
    place.say(
        "warning",
        "recurring_without_date",
        f"Values of {named} come again with every payment of the same customer, and there is no "
        "date window: last month's payment is matched with this month's invoice of the same "
        "amount. Add date, such as {min_days: -1, max_days: 5}.",
        "date",
    )


def _lint_likeness(place: Place) -> None:
    keyed = any(
        one.operator in EQUALITY_OPERATORS and is_reference(one) for one in place.rule.conditions
    )
    for path, one in place.conditions():
        if one.operator == "edit_distance":
            assert one.maximum is not None
            loose = one.maximum >= 1 if is_reference(one) else one.maximum > _EDITS_OF_NAMES
            bound, said = "maximum", f"may differ in {one.maximum} characters"
        elif one.operator == "similarity":
            assert one.minimum is not None
            enough = one.minimum * 2 * _REFERENCE_LENGTH <= 2 * (_REFERENCE_LENGTH - 1)
            few = one.minimum * 100 < _LIKENESS_OF_NAMES_PERCENT
            loose = enough if is_reference(one) else few
            bound, said = "minimum", f"need to be only {one.minimum} alike"
        else:
            continue
        if not loose or keyed:
            continue
        if is_reference(one):
            place.say(
                "warning",
                "near_references",
                f"Values of {fields_of(one)} {said}, but references that count up differ in one: "
                "ORD-10015 is taken for ORD-10016, another customer's. Compare the reference by "
                "alphanumeric or digits, and keep likeness for names.",
                f"{path}.{bound}",
            )
        else:
            place.say(
                "warning",
                "near_names",
                f"Values of {fields_of(one)} {said}, which many different names are. Ask for more, "
                "or compare a reference too.",
                f"{path}.{bound}",
            )


def _lint_groups(place: Place) -> None:
    rule = place.rule
    if rule.max_size is None or rule.max_size == 1:
        return
    if any(one.operator in EQUALITY_OPERATORS for one in rule.conditions):
        return
    near = "" if rule.amount.kind == "equal" else " or come near it"
    place.say(
        "warning",
        "coincidental_sums",
        f"Any transactions of one currency may form a group of up to {rule.max_size}: of 40 that "
        f"are open, more than {_groups_of_40(rule.max_size):,} sums can be made, and some equal "
        f"another amount{near} by chance. Compare a field that the members of a group share, or "
        "lower group.max_size.",
        "group.max_size",
    )


def _groups_of_40(most: int) -> int:
    count = chosen = 1
    for size in range(1, min(most, 40) + 1):
        chosen = chosen * (41 - size) // size
        count += chosen
    # Without the empty one; rounded down to a power of ten, since it is to give an idea.
    rounded: int = 10 ** (len(str(count - 1)) - 1)
    return rounded
