"""The tenant itself, and the audit log of what was changed in its name."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.operations import Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.parameters import POSITION_END, filters


class Tenant(BaseModel):
    """The tenant a credential belongs to."""

    tenant_id: str
    name: str
    created_at: datetime


class TenantChange(BaseModel):
    """What to change."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")


class AuditLine(BaseModel):
    """One change, and who made it."""

    audit_id: int
    at: datetime
    actor: str = Field(examples=["user:7d444840-9dc0-41d1-b245-5ffdce74fad2", "key:4f1c09ab77de"])
    action: str = Field(
        description="The operation's id, or what happened.", examples=["rotate_key"]
    )
    target: str | None = Field(description="The id of what was changed.")
    details: dict[str, Any]
    address: str | None
    trace_id: str | None


class AuditLog(Page[AuditLine]):
    """A page of the audit log."""


class AuditQuery(PageQuery):
    """Filters of the audit log."""

    actor: Annotated[str | None, Field(max_length=128, description="Only this one's.")] = None
    action: Annotated[str | None, Field(max_length=64, description="Only this action.")] = None
    from_time: Annotated[AwareDatetime | None, Field(description="Included.")] = None
    to_time: Annotated[AwareDatetime | None, Field(description="Not included.")] = None


async def read_tenant(call: Call) -> Tenant:
    """Show the credential's tenant."""
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row("read_tenant", {"tenant_id": call.tenant_id})
    assert row is not None, "a credential has a tenant"
    return Tenant(**row)


async def change_tenant(call: Call) -> Tenant:
    """Rename the tenant; its id never changes."""
    body = await call.body(TenantChange)
    call.note(call.tenant_id, name=body.name)
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row("rename_tenant", {"tenant_id": call.tenant_id, "name": body.name})
    assert row is not None, "a credential has a tenant"
    return Tenant(**row)


async def list_audit_log(call: Call) -> AuditLog:
    """List who changed what."""
    query = call.query(AuditQuery)
    before = decode_cursor(query.cursor, [int])[0] if query.cursor else POSITION_END
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_audit",
            {
                **filters(query, "actor", "action", "from_time", "to_time"),
                "tenant_id": call.tenant_id,
                "audit_id": before,
                "limit": query.limit + 1,
            },
        )
    page, next_cursor = cut_page(rows, query.limit, lambda row: [row["audit_id"]])
    return AuditLog(items=[AuditLine(**row) for row in page], next_cursor=next_cursor)


OPERATIONS = (
    Operation(
        method="GET",
        path="/tenant",
        handler=read_tenant,
        tag="tenant",
        summary="Show the credential's tenant",
        answer=Tenant,
    ),
    Operation(
        method="PATCH",
        path="/tenant",
        handler=change_tenant,
        tag="tenant",
        summary="Rename the tenant",
        body=TenantChange,
        answer=Tenant,
        errors=("invalid_parameter",),
    ),
    Operation(
        method="GET",
        path="/audit-log",
        handler=list_audit_log,
        tag="audit",
        summary="List who changed what",
        description="Newest first. Appended to with each change, never altered.",
        query=AuditQuery,
        answer=AuditLog,
    ),
)
