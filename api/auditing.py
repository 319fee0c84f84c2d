"""What the audit log is told. Every write of a request tells it by itself, in its own transaction.

While a request that writes is answered, `CURRENT` holds what is known of it; `Database.tenant` puts
it into the audit log with whatever the transaction changed, or not at all when it changed nothing.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb


@dataclass(slots=True)
class AuditEntry:
    """One line of the audit log to be.

    Attributes:
        actor: `user:ID` or `key:ID`.
        action: The operation's id, or what happened in the past tense.
        target: The id of what is changed.
        details: What else is worth knowing; never a secret.
        address: The caller's.
    """

    actor: str
    action: str
    target: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    address: str | None = None
    trace_id: str | None = None

    def parameters(self, tenant_id: str) -> dict[str, Any]:
        """Give the entry as parameters of the statements in `sql/audit.sql`."""
        return {
            "tenant_id": tenant_id,
            "actor": self.actor,
            "action": self.action,
            "target": self.target,
            "details": Jsonb(self.details),
            "address": self.address,
            "trace_id": self.trace_id,
        }


CURRENT: ContextVar[AuditEntry | None] = ContextVar("audit_entry", default=None)
