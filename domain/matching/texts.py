"""What the text operators compare: the form of a value, and whether two forms agree.

An operator of equality has a form in which two values are equal when it holds, so candidates are
found by hash. The others look at both forms of a pair. A form of None satisfies nothing.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from rapidfuzz.distance import Indel, Levenshtein

from domain.definitions import Condition
from domain.patterns import compile_pattern
from domain.transactions import SOURCE

Form = Any
FormOf = Callable[[str], Form]

# [^\W_] is what str.isalnum() accepts: letters and digits of every script.
_tokens_of = re.compile(r"[^\W_]+").findall
_without_the_rest = re.compile(r"[\W_]+").sub


def alphanumeric(value: str) -> str | None:
    """Casefolded letters and digits of every script."""
    return _without_the_rest("", value.casefold()) or None


def _digits(value: str) -> str | None:
    return "".join(c for c in value if c.isdecimal()) or None


def _token_line(value: str) -> str | None:
    """Tokens with a space on either side, so that a run of tokens is a part of the text."""
    tokens = _tokens_of(value.casefold())
    return f" {' '.join(tokens)} " if tokens else None


def _token_set(value: str) -> frozenset[str] | None:
    return frozenset(_tokens_of(value.casefold())) or None


def _extraction(pattern: str) -> FormOf:
    search = compile_pattern(pattern).search

    def extract(value: str) -> str | None:
        found = search(value)
        return None if found is None else (found.group(1) or "").strip() or None

    return extract


def form_of(condition: Condition, side: int) -> FormOf | None:
    """What turns a trimmed value of one side into its form; None when it is the form itself."""
    match condition.operator:
        case "exact":
            return None
        case "casefold" | "edit_distance":
            return str.casefold
        case "alphanumeric" | "similarity":
            return alphanumeric
        case "digits":
            return _digits
        case "token_run":
            return _token_line
        case "token_set":
            return _token_set
        case "regex_extract":
            assert condition.pattern is not None
            return None if side == SOURCE else _extraction(condition.pattern)


def similarity_distance(minimum: Decimal, length: int) -> int:
    """The largest Indel distance of two texts, `length` long together, that are similar enough.

    similarity = 1 - distance / length, in whole numbers: no verdict hangs on a rounded quotient.
    """
    numerator, denominator = minimum.as_integer_ratio()
    return length * (denominator - numerator) // denominator


def pair_test(condition: Condition) -> Callable[[Any, Any], bool]:
    """Whether the forms of a source's and a target's value agree, for what equality cannot say."""
    match condition.operator:
        case "token_run":
            return lambda source, target: source in target
        case "token_set":
            return lambda source, target: source <= target
        case "edit_distance":
            maximum = condition.maximum
            assert maximum is not None

            def near(source: str, target: str) -> bool:
                return Levenshtein.distance(source, target, score_cutoff=maximum) <= maximum

            return near
        case "similarity":
            minimum = condition.minimum
            assert minimum is not None

            def similar(source: str, target: str) -> bool:
                limit = similarity_distance(minimum, len(source) + len(target))
                return Indel.distance(source, target, score_cutoff=limit) <= limit

            return similar
    raise AssertionError(condition.operator)


def score(condition: Condition, source: str, target: str) -> int:
    """How well two values agree where the condition holds, in ten-thousandths of a full score.

    The share of the text that agrees for `similarity`, the share that needs no edit for
    `edit_distance`; every other operator holds in full or not at all.
    """
    if condition.operator == "similarity":
        ours, theirs = alphanumeric(source) or "", alphanumeric(target) or ""
        length = len(ours) + len(theirs)
        return 10_000 * (length - Indel.distance(ours, theirs)) // max(length, 1)
    if condition.operator == "edit_distance":
        ours, theirs = source.casefold(), target.casefold()
        length = max(len(ours), len(theirs))
        return 10_000 * (length - Levenshtein.distance(ours, theirs)) // max(length, 1)
    return 10_000
