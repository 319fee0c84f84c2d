"""Patterns of `regex_extract`: what they can take out of a text.

RE2 runs every pattern in time linear in the text, so none can run away; what remains is a pattern
that takes nothing, everything, or what is in any text.
"""

from collections.abc import Callable

import re2

from domain.linting.findings import Place
from domain.patterns import compile_pattern

# Texts that have nothing in common but that each is one.
_ANY_TEXTS = ("ORD-1001", "zahlung müller & söhne", "7", "#?!", "a b c 1,50 (x)")
# What stands in texts of every kind and refers to nothing.
_ORDINARY = ("2026-01-05 12:30", "1250.00 EUR", "Thank you for your payment")
# What may stand before a match: nothing, a letter, a space, the end of a line.
_BEFORE = ("", "a", " ", "\n")


def lint_patterns(place: Place) -> None:
    """Note patterns that can match nothing or everything."""
    for path, condition in place.conditions():
        if condition.pattern is None:
            continue
        field, taken = condition.target_field, _taken(condition.pattern)
        where = f"{path}.pattern"
        if takes_nothing(condition.pattern):
            place.say(
                "error",
                "pattern_matches_nothing",
                f"Group 1 of this pattern is empty in every text, so no {field} ever satisfies the "
                "condition and the rule matches nothing. Put the part to compare into the first "
                "parentheses and look for an anchor in the wrong place.",
                where,
            )
        elif all(taken(text) == text for text in _ANY_TEXTS):
            place.say(
                "warning",
                "pattern_matches_everything",
                f"This pattern takes the whole {field}, whatever it says: the rule compares the "
                "full text. Say what a reference looks like, such as \\b(ORD-\\d+)\\b, or use "
                "operator: exact.",
                where,
            )
        else:
            _lint_loose(place, where, field, [taken(text) for text in _ORDINARY])


def _lint_loose(place: Place, where: str, field: str, taken: list[str | None]) -> None:
    for text, part in zip(_ORDINARY, taken, strict=True):
        if part is not None:
            place.say(
                "warning",
                "pattern_matches_ordinary_text",
                f"This pattern takes '{part}' out of '{text}', where there is no reference, and "
                "only the first hit in a text counts: a date, an amount or a word before the "
                f"reference hides it, and {field} may match by chance. Add what only a reference "
                "has, such as a prefix or a length.",
                where,
            )
            return


def _taken(pattern: str) -> Callable[[str], str | None]:
    search = compile_pattern(pattern).search

    def taken(text: str) -> str | None:
        found = search(text)
        return None if found is None else (found.group(1) or "").strip() or None

    return taken


def takes_nothing(pattern: str) -> bool:
    """Whether it is proved that no text has anything in group 1."""
    for before in _BEFORE:
        try:
            extremes = compile_pattern(f"{before}(?:{pattern})").possiblematchrange(16)
        except re2.error:  # of some patterns RE2 tells no range
            return False
        if extremes not in ((b"", b""), (before.encode(), before.encode())):
            return False
    return True
