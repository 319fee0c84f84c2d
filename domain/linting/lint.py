"""Linting a definition: everything that is said about it, in order of the rules."""

from collections.abc import Sequence

from domain.definitions import Definition
from domain.errors import DefinitionInvalid
from domain.linting.findings import SEVERITIES, Finding, Place, Sample
from domain.linting.order import lint_order
from domain.linting.patterns import lint_patterns
from domain.linting.rules import lint_rule, lint_window
from domain.linting.samples import lint_sample
from domain.linting.tolerances import lint_tolerance


def lint_definition(definition: Definition, sample: Sample | None = None) -> list[Finding]:
    """Say what a valid definition may do that was not meant.

    Findings are ordered by rule, then by severity; the definition as a whole comes first.
    """
    sample = sample or Sample()
    whole: list[Finding] = []
    lint_window(definition, whole)
    of_rules: list[list[Finding]] = [[] for _ in definition.rules]
    places = [Place(index, rule, of_rules[index]) for index, rule in enumerate(definition.rules)]
    lint_order(places)
    for place in places:
        lint_patterns(place)
        lint_rule(place)
        lint_tolerance(place, sample)
        lint_sample(place, sample)
    return _by_severity(whole) + [one for each in of_rules for one in _by_severity(each)]


def invalid_findings(refused: DefinitionInvalid) -> list[Finding]:
    """What is wrong with a definition that means nothing, in the form of findings."""
    return [
        Finding(one.path, None, "error", "invalid", f"Refused: {one}.") for one in refused.problems
    ]


def _by_severity(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))
