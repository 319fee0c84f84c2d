"""Rows of the log and of the read models, put in directly: what the API reads."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from connectors.postgres.audit import record_operation
from connectors.postgres.journal import encode_journal
from connectors.postgres.tenants import create_key, create_tenant
from connectors.postgres.users import create_user
from domain.event_batches import encode_plain
from domain.events import (
    Candidate,
    ExceptionResolved,
    ReconciliationDefined,
    RecordMatched,
    RecordUnmatched,
    TransactionsAccepted,
    WatermarkAdvanced,
)
from domain.identity import exception_id, match_id
from domain.statements import FIGURES, write_statement
from domain.transactions import Transaction, build_transaction

#: What routes need to be told beside what their paths say.
QUERIES = {
    "/events": {"aggregate_id": "orders"},
    "/transactions": {"reconciliation_id": "orders", "reference": "R-1"},
    "/transactions/{transaction_id}/explanation": {
        "reconciliation_id": "orders",
        "side": "source",
    },
}
PEPPER = "a pepper of the tests"
PASSWORD = "correct horse battery"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEFINITION = {
    "reconciliation_id": "orders",
    "name": "Orders against charges",
    "rules": [
        {
            "name": "order-reference",
            "match_type": "one_to_one",
            "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
        }
    ],
}


@dataclass
class Tenant:
    """A tenant with a key, and the ids of what was put in for it."""

    tenant_id: str
    key: str
    key_id: str
    ids: dict[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def add_tenant(connection: psycopg.Connection, tenant_id: str) -> Tenant:
    create_tenant(connection, tenant_id, tenant_id.title())
    new = create_key(connection, tenant_id, "tests", [], PEPPER, role="owner")
    return Tenant(tenant_id, new.key, new.key_id)


def add_people(connection: psycopg.Connection, tenant: Tenant) -> None:
    """Give a tenant a user with a session, and a key and an audit line beside its first one."""
    tenant_id, ids = tenant.tenant_id, tenant.ids
    email = f"ada@{tenant_id}.example"
    ids["email"] = email
    ids["user"] = str(create_user(connection, tenant_id, email, "owner", "Ada", PASSWORD).user_id)
    ids["session"] = str(uuid.uuid4())
    insert(
        connection, "user_sessions", session_id=ids["session"], tenant_id=tenant_id,
        user_id=ids["user"], scopes=[], expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    insert(
        connection, "user_tokens", token_id=uuid.uuid4().hex[:12], tenant_id=tenant_id,
        user_id=ids["user"], session_id=ids["session"], purpose="refresh", token_hash=b"",
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    insert(
        connection, "idempotency_keys", tenant_id=tenant_id, actor=f"key:{tenant.key_id}",
        idempotency_key="k", fingerprint=b"",
    )  # fmt: skip
    ids["key"] = create_key(connection, tenant_id, "second", [], PEPPER).key_id
    record_operation(connection, tenant_id, "key_created", ids["key"])


def insert(connection: psycopg.Connection, table: str, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(["%s"] * len(values))
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({places})".encode(), list(values.values())
    )


class Log:
    """Appends batches as the flow does, with gapless positions."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.position = connection.execute("SELECT position FROM log_head").fetchone()[0]
        self.versions: dict[str, int] = {}

    def stream_hash(self, tenant_id: str, reconciliation_id: str) -> int:
        """The hash by which a reconciliation's matches are found."""
        query = "SELECT hashtextextended(%s, hashtextextended(%s, 0))"
        (found,) = self.connection.execute(query, (reconciliation_id, tenant_id)).fetchone()
        return found

    def append(
        self,
        tenant_id: str,
        reconciliation_id: str,
        events: list,
        journal: list[bytes] | None = None,
        **metadata: str,
    ) -> tuple[int, datetime]:
        """Append one batch; gives its first position and its time."""
        stream_id = f"{tenant_id}/{reconciliation_id}"
        first = self.position + 1
        self.position += len(events)
        base = self.versions.get(stream_id)
        if base is None:
            (base,) = self.connection.execute(
                "SELECT coalesce(max(base_version + event_count), 0) FROM event_store"
                " WHERE stream_id = %s",
                (stream_id,),
            ).fetchone()
        self.versions[stream_id] = base + len(events)
        at = START + timedelta(seconds=self.position)
        insert(
            self.connection, "event_store", last_position=self.position, first_position=first,
            stream_id=stream_id, tenant_id=tenant_id, reconciliation_id=reconciliation_id,
            base_version=base, event_count=len(events), events=encode_plain(events).decode(),
            metadata=Jsonb(metadata), created_at=at,
            journal=encode_journal(journal) if journal else None,
        )  # fmt: skip
        self.connection.execute("UPDATE log_head SET position = %s", (self.position,))
        return first, at


def add_accepted(log: Log, tenant_id: str, reconciliation_id: str, ids: list[str]) -> None:
    """Accept transactions of 12.50 EUR, or on the target side, where ids begin with T, of 12.00."""
    journal = []
    for one in ids:
        side = int(one.startswith("T"))
        fields = {
            "tenant_id": tenant_id, "reconciliation_id": reconciliation_id, "transaction_id": one,
            "amount": ("12.50", "12.00")[side], "currency": "EUR", "reference": "R-1",
            "occurred_at": "2026-03-01T12:00:00Z",
        }  # fmt: skip
        transaction = build_transaction(fields, side, None)
        assert isinstance(transaction, Transaction), transaction
        journal.append(transaction.packed)
    counts = [
        (side, "EUR", len(of_side), len(of_side) * (1250, 1200)[side])
        for side in (0, 1)
        if (of_side := [one for one in ids if int(one.startswith("T")) == side])
    ]
    log.append(tenant_id, reconciliation_id, [TransactionsAccepted(counts, {}, 0, 0)], journal)


def add_match(
    log: Log, tenant_id: str, reconciliation_id: str, number: int, status: str = "confirmed",
    rule: str = "order-reference", currency: str = "EUR",
) -> str:  # fmt: skip
    sources, targets = [f"S{number}"], [f"T{number}"]
    members = tuple(sources), tuple(targets)
    event = RecordMatched(rule, "one_to_one", 1, *members, currency, 1250, 1200, 1_000)
    position, _ = log.append(tenant_id, reconciliation_id, [event])
    identity = match_id(tenant_id, reconciliation_id, rule, sources, targets, 1_000)
    insert(
        log.connection, "matches", stream_hash=log.stream_hash(tenant_id, reconciliation_id),
        match_id=identity, tenant_id=tenant_id,
        reconciliation_id=reconciliation_id, position=position, rule=rule,
        match_type="one_to_one", status=status, source_ids=sources, target_ids=targets,
        currency=currency, source_minor=1250, target_minor=1200, difference_minor=-50,
        definition_version=1,
        reason="two admissible matches" if status == "suggested" else None,
    )  # fmt: skip
    return identity


def add_exception(
    log: Log, tenant_id: str, reconciliation_id: str, transaction_id: str, *,
    category: str = "missing_in_target", severity: str = "low", side: str = "source",
    currency: str = "EUR", amount_minor: int = 990, resolved_by: int | None = None,
) -> str:  # fmt: skip
    number = ("source", "target").index(side)
    candidate = Candidate("T-near", 1 - number, 1000, currency, "order-reference", "amount",
                          "differs by 0.10")  # fmt: skip
    opened = RecordUnmatched(
        number, transaction_id, category, severity, amount_minor, currency, 1_772_000_000_000,
        "order-reference", "no counterpart in time", [candidate], 1,
    )  # fmt: skip
    neighbour = WatermarkAdvanced(1_772_000_000_000_000)
    position, at = log.append(tenant_id, reconciliation_id, [opened, neighbour], correlation_id="c")
    identity = exception_id(tenant_id, reconciliation_id, side, transaction_id)
    updated, matched = position, None
    if resolved_by is not None:
        sources, targets = [transaction_id], [f"T{resolved_by}"]
        members = tuple(sources), tuple(targets)
        match = RecordMatched("order-reference", "one_to_one", 1, *members, currency,
                              amount_minor, amount_minor, 2_000)  # fmt: skip
        matched = match_id(tenant_id, reconciliation_id, "order-reference", sources, targets, 2_000)
        closed = ExceptionResolved(number, transaction_id, "late_match", matched)
        first, _ = log.append(tenant_id, reconciliation_id, [match, closed])
        updated = first + 1
        insert(
            log.connection, "matches",
            stream_hash=log.stream_hash(tenant_id, reconciliation_id), match_id=matched,
            tenant_id=tenant_id,
            reconciliation_id=reconciliation_id, position=first,
            rule="order-reference", match_type="one_to_one", status="confirmed",
            source_ids=sources, target_ids=targets, currency=currency, source_minor=amount_minor,
            target_minor=amount_minor, difference_minor=0, definition_version=1,
        )  # fmt: skip
    insert(
        log.connection, "exceptions", exception_id=identity, tenant_id=tenant_id,
        reconciliation_id=reconciliation_id, position=position, side=side,
        transaction_id=transaction_id, category=category, severity=severity,
        status="resolved" if matched else "open", resolution="late_match" if matched else None,
        amount_minor=amount_minor, currency=currency, occurred_at=START, rule="order-reference",
        reason="no counterpart in time",
        candidates=Jsonb([{
            "transaction_id": "T-near", "side": ("source", "target")[1 - number],
            "amount_minor": 1000, "currency": currency, "rule": "order-reference",
            "failed": "amount", "detail": "differs by 0.10",
        }]),
        match_id=matched, definition_version=1, opened_at=at, updated_at=at,
        updated_position=updated,
    )  # fmt: skip
    return identity


def add_summary(log: Log, tenant_id: str, reconciliation_id: str, **values: Any) -> None:
    figures = {
        "name": "Orders against charges", "definition_version": 1, "accepted_source": 60,
        "accepted_target": 40, "transactions_matched": 80, "matches_confirmed": 40,
        "transactions_exception": 5, "exceptions_open": 5, "watermark_at": START,
        "first_event_at": START, "last_event_at": START, "position": log.position,
    } | values  # fmt: skip
    insert(
        log.connection, "reconciliation_summary", tenant_id=tenant_id,
        reconciliation_id=reconciliation_id, **figures,
    )  # fmt: skip
    for side, count in (("source", 60), ("target", 40)):
        insert(
            log.connection, "reconciliation_totals", tenant_id=tenant_id,
            reconciliation_id=reconciliation_id, side=side, currency="EUR", accepted_count=count,
            accepted_minor=count * 100, matched_count=40, matched_minor=4000,
        )  # fmt: skip


def add_periods(connection: psycopg.Connection, tenant_id: str, closed: date) -> str:
    """Give `orders` a closed day with its statement and an open one after it."""
    scope = {"tenant_id": tenant_id, "reconciliation_id": "orders"}
    for day in (closed, closed + timedelta(days=1)):
        insert(
            connection, "control_totals", **scope, day=day, side="source", currency="EUR",
            accepted_count=30, accepted_minor=3000, matched_count=20, matched_minor=2000,
        )  # fmt: skip
        insert(
            connection, "control_totals", **scope, day=day, side="source", currency="XXX",
            rejected_count=2,
        )  # fmt: skip
    insert(
        connection, "period_calendars", **scope, time_zone="UTC", closed_day=closed,
        latest_day=closed + timedelta(days=1),
    )  # fmt: skip
    figures = dict.fromkeys(FIGURES, (0, 0)) | {
        "accepted": (30, 3000), "matched": (20, 2000), "pending": (10, 1000),
    }  # fmt: skip
    at = START + timedelta(days=4)
    written = write_statement(
        (tenant_id, "orders"), closed.isoformat(), "UTC", (7, at.isoformat()),
        {("source", "EUR"): figures}, {"source": (30, 0, 2)}, None,
    )  # fmt: skip
    insert(
        connection, "period_statements", **scope, day=closed, position=7, closed_at=at,
        statement=written.text, hash=written.hash,
    )  # fmt: skip
    return closed.isoformat()


def add_dead_letter(connection: psycopg.Connection, tenant_id: str, offset: int, raw: bytes) -> str:
    insert(
        connection, "dead_letter_queue", topic="settler.transactions.source", partition=0,
        offset=offset, tenant_id=tenant_id, reconciliation_id="orders", side=0, raw=raw,
        code="invalid_amount", message="amount '1,0' is not a decimal",
        received_at=START + timedelta(seconds=offset // 3),
    )  # fmt: skip
    row = connection.execute(
        'SELECT dead_letter_id::text FROM dead_letter_queue WHERE "offset" = %s', (offset,)
    ).fetchone()
    return row[0]


def populate(connection: psycopg.Connection, tenant: Tenant, offset: int) -> None:
    """Give a tenant something of everything; its ids are kept in `tenant.ids`."""
    add_people(connection, tenant)
    log, tenant_id = Log(connection), tenant.tenant_id
    definition = DEFINITION | {"tenant_id": tenant_id}
    first, at = log.append(
        tenant_id, "orders",
        [ReconciliationDefined(1, definition, "d9428888-122b-11e1-b85c-61cd3cbb3210")],
        correlation_id="define-orders", traceparent="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01",
    )  # fmt: skip
    insert(
        connection, "definitions", tenant_id=tenant_id, reconciliation_id="orders", version=1,
        definition=Jsonb(definition), defined_at=at, position=first,
        command_id="d9428888-122b-11e1-b85c-61cd3cbb3210",
    )  # fmt: skip
    accepted = TransactionsAccepted([(0, "EUR", 60, 6000), (1, "EUR", 40, 4000)],
                                    {"settler.transactions.source/0": (0, 60)}, 0, 0)  # fmt: skip
    log.append(tenant_id, "orders", [accepted])
    ids = tenant.ids
    ids["transaction"] = f"accepted-{offset}"
    ids["in_journal"] = [ids["transaction"], f"S/{offset}", "S0", "T0"]
    add_accepted(log, tenant_id, "orders", ids["in_journal"])
    ids["matches"] = [add_match(log, tenant_id, "orders", number) for number in range(7)]
    ids["suggestion"] = add_match(log, tenant_id, "orders", 90, "suggested")
    ids["exceptions"] = [
        add_exception(log, tenant_id, "orders", f'O-"{number}"', severity=severity)
        for number, severity in enumerate(["low", "medium", "high", "critical", "low"])
    ]
    ids["resolved"] = add_exception(
        log, tenant_id, "orders", "O-late", resolved_by=77, currency="JPY"
    )
    add_summary(log, tenant_id, "orders")
    add_summary(log, tenant_id, "refunds", name=None, accepted_source=0, accepted_target=0,
                transactions_matched=0, transactions_exception=0)  # fmt: skip
    ids["dead_letters"] = [
        add_dead_letter(connection, tenant_id, offset + number, raw)
        for number, raw in enumerate([b'{"amount": "1,0"}', b"\xff\xfe", b"{}", b"[", b"x"])
    ]
    for day in range(3):
        insert(
            connection, "tenant_usage_view", tenant_id=tenant_id,
            usage_date=START.date() - timedelta(days=day), transactions=100 + day,
        )  # fmt: skip
        for category in ("amount_mismatch", "missing_in_target"):
            insert(
                connection, "error_hotspots_view", tenant_id=tenant_id, reconciliation_id="orders",
                day=START.date() - timedelta(days=day), category=category, rule="",
                currency="EUR", exception_count=2, open_count=1, amount_minor=500,
                open_amount_minor=250, last_seen_at=START,
            )  # fmt: skip
    insert(
        connection, "streams", stream_id=f"{tenant_id}/orders", tenant_id=tenant_id,
        reconciliation_id="orders", version=20,
    )  # fmt: skip
    ids["day"] = add_periods(connection, tenant_id, START.date() + timedelta(days=offset // 100))
    ids["run"] = f"6ba7b810-9dad-11d1-80b4-{offset:012x}"
    insert(
        connection, "reconciliation_runs", tenant_id=tenant_id, reconciliation_id="orders",
        run_id=ids["run"], name="March", from_at=START, to_at=START + timedelta(days=31),
        status="completed", definition_version=1, attempts=1, started_at=START, ended_at=START,
        totals=Jsonb([
            {"side": "source", "currency": "EUR", "place": "matched", "count": 3,
             "amount_minor": 300},
            {"side": "target", "currency": "KWD", "place": "exception", "count": 1,
             "amount_minor": -5},
        ]),
        position=5, updated_position=9,
    )  # fmt: skip
    ids["command"] = f"7d444840-9dc0-11d1-b245-{offset:012x}"
    insert(
        connection, "inbox", command_id=ids["command"], tenant_id=tenant_id,
        reconciliation_id="orders", command_type="define", payload=Jsonb({}), correlation_id="c",
    )  # fmt: skip
