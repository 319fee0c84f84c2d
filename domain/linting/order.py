"""Rules in their order: what one leaves to the next.

A rule is called unreachable only on a proof. The earlier rule must admit every pair the later one
does, and leave none of them: by a unique condition, or by taking candidates best first until none
is left. What an earlier rule would take but is still waiting for is not offered to later ones, so
`settle` makes no difference. Suggestions consume nothing: a rule that leaves its matches to a
person takes none from later ones.
"""

from collections.abc import Sequence

from domain.definitions import Rule
from domain.linting.containment import (
    Contained,
    amounts_contained,
    dates_contained,
    pairs_contained,
)
from domain.linting.containment import conditions_contained as texts_contained
from domain.linting.findings import Place

_GREEDY = ("lowest_id", "prefer")


def lint_order(places: Sequence[Place]) -> None:
    """Compare every rule with the ones before it; each has at most one finding of this kind."""
    for number, later in enumerate(places):
        for earlier in places[:number]:
            if _covered(earlier.rule, later) or _looser(earlier.rule, later):
                break


def unreachable(earlier: Rule, later: Rule) -> bool:
    """Whether it is proved that `later` never matches anything after `earlier`."""
    return (
        earlier.match_type == later.match_type == "one_to_one"
        and _leaves_none(earlier)
        and pairs_contained(later, earlier) == Contained.ALWAYS
    )


def _leaves_none(rule: Rule) -> bool:
    return rule.outcome == "confirm" and (rule.selection in _GREEDY or _is_unique(rule))


def _is_unique(rule: Rule) -> bool:
    return any(condition.unique for condition in rule.conditions)


def _covered(earlier: Rule, later: Place) -> bool:
    """Note a later rule that an earlier one leaves nothing, or next to nothing."""
    name, rule = f"'{earlier.name}'", later.rule
    if earlier.outcome == "suggest":
        return False
    if unreachable(earlier, rule):
        also = (
            " All it still does is to set repeated values aside as duplicates."
            if _is_unique(rule)
            else ""
        )
        later.say(
            "error",
            "unreachable_rule",
            f"This rule never matches anything: {name} before it takes every pair it could."
            f"{also} Put it before {name}, or leave it out.",
        )
        return True
    if earlier.match_type != rule.match_type:
        return False
    if rule.match_type != "one_to_one":
        if _asks(earlier) != _asks(rule):
            return False
        later.say(
            "warning",
            "repeated_rule",
            f"This rule asks for the same groups as {name} before it and gets only what that one "
            "left because several fit or its search hit its bound. Change what it asks, or leave "
            "it out.",
        )
        return True
    contained = pairs_contained(rule, earlier)
    if contained == Contained.NO:
        return False
    if contained == Contained.BUT_FOR_SIGNS and _leaves_none(earlier):
        later.say(
            "warning",
            "almost_unreachable_rule",
            f"This rule is left only values without any letter or digit: {name} before it takes "
            f"every other pair it could. Put it before {name}, or leave it out.",
        )
        return True
    later.say(
        "warning",
        "stricter_after_looser",
        f"Every pair of this rule is also one of {name} before it, so all it gets is what that one "
        f"left because several fitted. Put it before {name}: then it decides first, and the looser "
        "rule sees the rest.",
    )
    return True


def _asks(rule: Rule) -> tuple[object, ...]:
    return rule.conditions, rule.amount, rule.date, rule.whole_key, rule.max_size


def _looser(earlier: Rule, later: Place) -> bool:
    """Note a later rule that confirms what an earlier one was there to keep apart."""
    name, rule = f"'{earlier.name}'", later.rule
    if earlier.match_type != rule.match_type or pairs_contained(earlier, rule) == Contained.NO:
        return False
    if rule.outcome == "suggest":
        return False  # a person looks at what it finds
    if earlier.outcome == "suggest":
        later.say(
            "warning",
            "overrides_suggestions",
            f"{name} leaves its matches to a person; this rule admits the same pairs and confirms "
            "them, so that nobody is asked. Give it a condition that tells them apart, or outcome: "
            "suggest.",
            "outcome",
        )
        return True
    wider = [
        what
        for what, same in (
            ("conditions", texts_contained(rule.conditions, earlier.conditions) != Contained.NO),
            ("amount", amounts_contained(rule.amount, earlier.amount)),
            ("date", dates_contained(rule.date, earlier.date)),
        )
        if not same
    ]
    if rule.selection in _GREEDY and not _leaves_none(earlier):
        later.say(
            "warning",
            "overrides_ambiguity",
            f"Where several pairs fit {name}, it leaves the choice to a person; this rule admits "
            f"the same pairs and chooses by {_choice(rule)}. Nothing ambiguous is ever shown. Give "
            "it a condition that tells them apart, or selection: {ambiguity: suggest}.",
            "selection",
        )
        return True
    if "amount" in wider or "date" in wider:
        limits = " and ".join(what for what in wider if what != "conditions")
        later.say(
            "warning",
            "looser_rule",
            f"Pairs that {name} refuses for their {limits} are confirmed here all the same, since "
            f"nothing else is asked of them, so the limit of {name} keeps nothing apart. Narrow "
            "this rule, ask another condition of it, or leave the stricter one out.",
            "amount" if "amount" in wider else "date",
        )
        return True
    if "conditions" not in wider:
        return False
    later.say(
        "hint",
        "looser_rule",
        f"This rule asks less of the text than {name} before it and confirms what that one found "
        "too different. That is how a fallback works; check a few of its matches, or run "
        "`settler definitions backtest` without it to see what it brings.",
        "conditions",
    )
    return True


def _choice(rule: Rule) -> str:
    return "the lowest id" if rule.selection == "lowest_id" else ", ".join(rule.prefer)
