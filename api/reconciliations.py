"""Reconciliations: defining them, their versions, and where their transactions stand."""

from datetime import datetime
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, RootModel

from api.commands import Command, WaitQuery, WriteHeaders, submit
from api.errors import ApiError, ErrorDetail, not_found
from api.operations import (
    Answer,
    Call,
    Operation,
    parse_json,
    require_depth,
    require_media_type,
)
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.summaries import Summary, read_summary, to_summary
from domain.definition_parsing import parse_definition
from domain.definitions import Definition
from domain.errors import DefinitionInvalid

_YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
MEDIA_TYPES = ("application/json", *_YAML_TYPES)


class DefinitionDocument(RootModel[dict[str, Any]]):
    """A reconciliation definition; refused with the path of every value that cannot be used."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "reconciliation_id": "shopify-stripe",
                    "name": "Shopify orders against Stripe charges",
                    "source": {"system": "shopify"},
                    "target": {"system": "stripe"},
                    "rules": [
                        {
                            "name": "order-reference",
                            "match_type": "one_to_one",
                            "conditions": [
                                {"field": "reference", "operator": "exact", "unique": True}
                            ],
                        }
                    ],
                }
            ]
        }
    }


class DefinitionVersion(BaseModel):
    """One version of a definition, as it was put in force."""

    reconciliation_id: str
    version: int
    definition: dict[str, Any]
    defined_at: datetime
    command_id: str
    position: int


class DefinitionVersions(Page[DefinitionVersion]):
    """A page of versions."""


class Reconciliations(Page[Summary]):
    """A page of reconciliations."""


class ReconciliationsQuery(PageQuery):
    """Filters of reconciliations."""

    status: Annotated[
        str | None, Field(pattern=r"^[a-z_]{1,32}$", description="E.g. `active`.")
    ] = None


class DefinitionQuery(BaseModel):
    """Which version."""

    model_config = {"extra": "forbid"}

    version: int | None = Field(None, ge=1, le=2**31 - 1, description="Default: the newest.")


class _ExactLoader(yaml.SafeLoader):
    """A YAML loader that leaves numbers with a fraction and dates as the text they are.

    A key that stands twice in a mapping is an error, as YAML 1.2.2, section 3.2.1.3, has it.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping of distinct keys."""
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a key stands twice in one mapping", node.start_mark
            )
        return mapping


_ExactLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in {"tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(raw: bytes) -> Any:
    """Parse YAML without aliases, which can unfold to any size.

    Raises:
        ApiError: `invalid_json`, saying where.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(raw, _ExactLoader)):
            raise ApiError("invalid_json", "The body is YAML with an alias; write it out.")
        parsed = yaml.load(raw, _ExactLoader)  # noqa: S506 - a SafeLoader with fewer resolvers
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = " ".join(str(error).split())
        raise ApiError("invalid_json", f"The body is not valid YAML: {where}") from error
    require_depth(parsed)
    return parsed


def check_definition(raw: Any, tenant_id: str) -> Definition:
    """Check a definition as far as it can be checked before the flow sees it.

    Raises:
        ApiError: `definition_invalid`, with the path of every wrong value.
    """
    stated = raw.get("tenant_id") if isinstance(raw, dict) else None
    if stated is not None and stated != tenant_id:
        detail = ErrorDetail(
            path="tenant_id", message="is not the credential's tenant; leave it out"
        )
        raise ApiError("definition_invalid", details=[detail])
    try:
        return parse_definition(raw, tenant_id=tenant_id)
    except DefinitionInvalid as error:
        details = [ErrorDetail(path=each.path, message=each.message) for each in error.problems]
        raise ApiError("definition_invalid", str(error), details) from error


async def definition_in_body(call: Call) -> Definition:
    """Read the definition in the body, JSON or YAML.

    Raises:
        ApiError: `unsupported_media_type`, `invalid_json` or `definition_invalid`.
    """
    media_type = require_media_type(call.request, *MEDIA_TYPES)
    raw = await call.request.body()
    document = parse_json(raw) if media_type == "application/json" else parse_yaml(raw)
    return check_definition(document, call.tenant_id)


async def define_reconciliation(call: Call) -> Answer:
    """Check a definition and hand it to the flow."""
    definition = await definition_in_body(call)
    return await submit(
        call, "define", definition.reconciliation_id, {"definition": definition.raw}
    )


async def list_reconciliations(call: Call) -> Reconciliations:
    """List the tenant's reconciliations with their figures."""
    query = call.query(ReconciliationsQuery)
    after = decode_cursor(query.cursor, [str])[0] if query.cursor else ""
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_reconciliations",
            {
                "tenant_id": call.tenant_id,
                "after": after,
                "status": query.status,
                "limit": query.limit + 1,
            },
        )
    page, next_cursor = cut_page(rows, query.limit, lambda row: [row["reconciliation_id"]])
    return Reconciliations(
        items=[Summary(**to_summary(row)) for row in page], next_cursor=next_cursor
    )


async def read_reconciliation(call: Call) -> Summary:
    """Show one reconciliation with its figures."""
    key = _key(call)
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row("read_reconciliation", key)
    if row is None:
        raise not_found("reconciliation", key["reconciliation_id"])
    return Summary(**to_summary(row))


async def read_definition(call: Call) -> DefinitionVersion:
    """Show the definition in force, or the version asked for."""
    key = _key(call)
    query = call.query(DefinitionQuery)
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row("read_definition", {**key, "version": query.version})
    if row is None:
        raise not_found("definition", f"{key['reconciliation_id']}")
    return DefinitionVersion(reconciliation_id=key["reconciliation_id"], **row)


async def list_versions(call: Call) -> DefinitionVersions:
    """List the versions of a definition."""
    key = _key(call)
    query = call.query(PageQuery)
    before = decode_cursor(query.cursor, [int])[0] if query.cursor else 2**31 - 1
    if not 0 <= before < 2**31:
        raise ApiError("invalid_cursor")
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_versions", {**key, "before": before, "limit": query.limit + 1}
        )
    if not rows and query.cursor is None:
        raise not_found("reconciliation", key["reconciliation_id"])
    page, next_cursor = cut_page(rows, query.limit, lambda row: [row["version"]])
    reconciliation_id = key["reconciliation_id"]
    return DefinitionVersions(
        items=[DefinitionVersion(reconciliation_id=reconciliation_id, **row) for row in page],
        next_cursor=next_cursor,
    )


def _key(call: Call) -> dict[str, Any]:
    reconciliation_id = call.path("reconciliation_id")
    if "\x00" in reconciliation_id:
        raise not_found("reconciliation", "…")
    return {"tenant_id": call.tenant_id, "reconciliation_id": reconciliation_id}


def _define(method: Any, name: str) -> Operation:
    return Operation(
        method=method,
        path="/reconciliations",
        handler=define_reconciliation,
        name=name,
        tag="reconciliations",
        summary="Define a reconciliation, or put a new version in force",
        description=(
            "The definition is checked at once; it is in force when the command is `done`. Its "
            "`tenant_id` may be absent and may not be another tenant."
        ),
        query=WaitQuery,
        headers=WriteHeaders,
        body=DefinitionDocument,
        body_media_types=MEDIA_TYPES,
        answer=Command,
        status=202,
        errors=("definition_invalid", "idempotency_conflict", "invalid_parameter",
                "cross_site_request"),
    )  # fmt: skip


OPERATIONS = (
    _define("PUT", "define_reconciliation"),
    _define("POST", "post_reconciliation"),
    Operation(
        method="GET",
        path="/reconciliations",
        handler=list_reconciliations,
        tag="reconciliations",
        summary="List reconciliations",
        description="By id, ascending.",
        query=ReconciliationsQuery,
        answer=Reconciliations,
    ),
    Operation(
        method="GET",
        path="/reconciliations/{reconciliation_id}",
        handler=read_reconciliation,
        tag="reconciliations",
        summary="Show a reconciliation",
        answer=Summary,
        errors=("not_found",),
    ),
    Operation(
        method="GET",
        path="/reconciliations/{reconciliation_id}/definition",
        handler=read_definition,
        tag="reconciliations",
        summary="Show a definition",
        query=DefinitionQuery,
        answer=DefinitionVersion,
        errors=("not_found",),
    ),
    Operation(
        method="GET",
        path="/reconciliations/{reconciliation_id}/versions",
        handler=list_versions,
        tag="reconciliations",
        summary="List the versions of a definition",
        description="Newest first.",
        query=PageQuery,
        answer=DefinitionVersions,
        errors=("not_found",),
    ),
    read_summary,
)
