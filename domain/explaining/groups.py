"""How a rule came by a group, what else it could have taken, and where it stands among rules."""

from domain.events import MatchConfirmed, MatchSuggested, RecordMatched
from domain.explaining.evidence import Scene
from domain.explaining.wording import counted, listed
from domain.matching.compiled import BOTH, CompiledRule
from domain.transactions import SIDE_NAMES

_PREFERENCES = {
    "fewest_members": "fewest members",
    "closest_amount": "closest amount",
    "closest_date": "closest date",
    "oldest": "oldest",
    "newest": "newest",
}


def place_of_rule(scene: Scene, rule: CompiledRule, version: int) -> str:
    """Which of the definition's rules it is, and what that means for the ones before."""
    said = f"{rule.name} is rule {rule.index + 1} of {len(scene.rules)} in version {version}"
    if not rule.index:
        return f"{said}."
    before = listed([one.name for one in scene.rules[: rule.index]])
    return f"{said}; it works on what {before} left over."


def group_sentence(
    rule: CompiledRule | None, event: RecordMatched | MatchSuggested | MatchConfirmed
) -> str | None:
    """How groups of the rule are found; None for one and one."""
    if rule is None or rule.many_side is None:
        return None
    sizes = (len(event.source_ids), len(event.target_ids))
    has = " and ".join(counted(size, name) for size, name in zip(sizes, SIDE_NAMES, strict=True))
    if rule.rule.whole_key is not None:
        many = "both sides" if rule.many_side == BOTH else f"the {SIDE_NAMES[rule.many_side]} side"
        return (
            f"A group takes {many} whole: everything open with one value of "
            f"{rule.rule.whole_key}, or nothing. This one has {has}."
        )
    each = "each side" if rule.many_side == BOTH else f"the {SIDE_NAMES[rule.many_side]} side"
    return (
        f"Groups are searched for sums that agree, fewest members first, up to "
        f"{rule.rule.max_size} on {each}. This one has {has}."
    )


def alternatives_sentence(rule: CompiledRule | None) -> str:
    """What a match by a rule says about other matches of its members."""
    if rule is None:
        return "What else could have been matched is not known."
    if rule.unique:
        fields = [one.source_field for one in rule.rule.conditions if one.unique]
        return (
            f"A value of {listed(fields)} counts once per side, so there was nobody else: a later "
            "record with it would be a duplicate."
        )
    match rule.policy:
        case "lowest_id":
            first = (
                "Sources are taken in the order of their ids, each with its first admissible "
                "target by id"
                if rule.many_side is None
                else "Groups are taken in the order of their members' ids"
            )
            return f"{first}; who else would have fitted is not recorded."
        case "prefer":
            keys = listed([_PREFERENCES[one] for one in rule.rule.prefer], "then")
            return (
                f"Candidates are taken best first ({keys}, then by ids); who else would have "
                "fitted is not recorded."
            )
    smallest = " of the smallest size" if rule.rule.max_size is not None else ""
    otherwise = "put them before a person" if rule.policy == "suggest" else "left all of them alone"
    return (
        f"No other candidate{smallest} then shared a member with it; had one, the rule would have "
        f"{otherwise}."
    )
