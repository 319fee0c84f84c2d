"""The tenant itself, and the audit log of what was changed in its name."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.instants import Instant
from api.operations import Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.parameters import POSITION_END, filters

#: The order of `tenants.due_hours`.
SEVERITIES = ("low", "medium", "high", "critical")
_HOURS_MAX = 8760

Hours = Annotated[int, Field(ge=1, le=_HOURS_MAX)]


class DueHours(BaseModel):
    """Hours from the opening of an exception until it is due, by its severity."""

    model_config = ConfigDict(extra="forbid")

    low: Hours = Field(examples=[168])
    medium: Hours = Field(examples=[72])
    high: Hours = Field(examples=[24])
    critical: Hours = Field(examples=[4])


class Tenant(BaseModel):
    """The tenant a credential belongs to."""

    tenant_id: str
    name: str
    created_at: datetime
    due_hours: DueHours = Field(
        description="How soon exceptions are to be closed; 168, 72, 24 and 4 hours unless changed."
    )


class TenantChange(BaseModel):
    """What to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[
        str | None, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")
    ] = None
    due_hours: Annotated[
        DueHours | None,
        Field(description="Counts for exceptions that are open already, too."),
    ] = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.name is None and self.due_hours is None:
            raise ValueError("nothing is to be changed")
        return self


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
    from_time: Annotated[Instant | None, Field(description="Included.")] = None
    to_time: Annotated[Instant | None, Field(description="Not included.")] = None


def _to_tenant(row: dict[str, Any] | None) -> Tenant:
    assert row is not None, "a credential has a tenant"
    hours = dict(zip(SEVERITIES, row["due_hours"], strict=True))
    return Tenant(**{**row, "due_hours": DueHours(**hours)})


async def read_tenant(call: Call) -> Tenant:
    """Show the credential's tenant."""
    async with call.services.database.tenant(call.tenant_id) as session:
        return _to_tenant(await session.row("read_tenant", {"tenant_id": call.tenant_id}))


async def change_tenant(call: Call) -> Tenant:
    """Change the tenant's name or how soon its exceptions are due; its id never changes."""
    body = await call.body(TenantChange)
    call.note(call.tenant_id, **body.model_dump(exclude_none=True))
    hours = body.due_hours
    changes = {
        "tenant_id": call.tenant_id,
        "name": body.name,
        "due_hours": [getattr(hours, name) for name in SEVERITIES] if hours else None,
    }
    async with call.services.database.tenant(call.tenant_id) as session:
        return _to_tenant(await session.row("change_tenant", changes))


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
        summary="Rename the tenant, or say how soon its exceptions are due",
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
