"""Linting a definition before it is put in force: nothing is stored."""

import asyncio
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.errors import ApiError
from api.operations import Call, Operation
from api.reconciliations import MEDIA_TYPES, DefinitionDocument, definition_in_body
from domain.definitions import Definition
from domain.linting.findings import Sample
from domain.linting.lint import lint_definition

# Every rule is compared with every one before it, condition by condition; a definition written by
# hand has a dozen of each.
RULES_MAX = 200
CONDITIONS_MAX = 1_000


class LintQuery(BaseModel):
    """What the definition is judged by."""

    model_config = {"extra": "forbid"}

    typical_amount: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{1,18}(\.[0-9]{1,9})?$",
            description="A typical amount in major units, by which tolerances are judged.",
        ),
    ] = None


class LintFinding(BaseModel):
    """One piece of advice."""

    path: str = Field(examples=["rules[1].amount.tolerance"])
    rule: str | None = Field(description="The rule's name; null for the definition as a whole.")
    severity: Literal["error", "warning", "hint"] = Field(
        description=(
            "`error`: the rule cannot do anything; `warning`: it may match wrongly, or not what "
            "was meant; `hint`: worth a look."
        )
    )
    code: str = Field(examples=["unreachable_rule"])
    message: str = Field(description="What happens to whom, and what to do.")


class LintFindings(BaseModel):
    """All that is said about a definition, by rule and severity."""

    findings: list[LintFinding]


async def lint(call: Call) -> LintFindings:
    """Lint the definition in the body."""
    typical = call.query(LintQuery).typical_amount
    amount = None if typical is None else Decimal(typical)
    if amount == 0:
        raise ApiError("invalid_parameter", "typical_amount is zero; give an amount above it.")
    definition = await definition_in_body(call)
    _limit(definition)
    found = await asyncio.to_thread(lint_definition, definition, Sample(typical_amount=amount))
    return LintFindings(
        findings=[
            LintFinding(
                path=one.path,
                rule=one.rule,
                severity=one.severity,
                code=one.code,
                message=one.message,
            )
            for one in found
        ]
    )


def _limit(definition: Definition) -> None:
    rules = len(definition.rules)
    conditions = sum(len(rule.conditions) for rule in definition.rules)
    if rules > RULES_MAX or conditions > CONDITIONS_MAX:
        raise ApiError(
            "body_too_large",
            f"The definition has {rules:,} rules and {conditions:,} conditions, at most "
            f"{RULES_MAX:,} and {CONDITIONS_MAX:,} are linted here; `settler definitions lint` "
            "takes any number.",
        )


OPERATIONS = (
    Operation(
        method="POST",
        path="/definitions/lint",
        handler=lint,
        name="lint_definition",
        tag="reconciliations",
        # It changes nothing.
        scope="reconciliations:read",
        summary="Lint a definition",
        description=(
            "Says which rules of a valid definition cannot match, or may match wrongly, and what "
            "to do. Nothing is stored; a definition that cannot be used is refused as it is when "
            f"it is put. At most {RULES_MAX:,} rules and {CONDITIONS_MAX:,} conditions."
        ),
        query=LintQuery,
        body=DefinitionDocument,
        body_media_types=MEDIA_TYPES,
        answer=LintFindings,
        errors=("definition_invalid", "cross_site_request"),
    ),
)
