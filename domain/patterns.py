"""Patterns that cannot run away: RE2's, matched in time linear in the text."""

from typing import Any

import re2


class PatternRefused(ValueError):
    """A pattern that RE2 does not take; the message is a sentence without subject."""


def compile_pattern(pattern: str) -> Any:
    """Compile an RE2 pattern; matching it takes time linear in the text, whatever it says.

    Raises:
        PatternRefused: It does not compile, or has no group 1.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as problem:
        said = problem.args[0] if problem.args else ""
        why = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise PatternRefused(
            f"does not compile: {why}. The syntax is RE2's: no lookaround and no backreferences, "
            "so that no text can make it run away"
        ) from problem
    if not compiled.groups:
        raise PatternRefused("has no group; put parentheses around the part to compare")
    return compiled
