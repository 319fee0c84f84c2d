"""Examples for the OpenAPI, made from the schemas themselves, so that none can fall behind.

A schema's own `examples`, `const` or `enum` come first, then what its name usually holds, then what
its type and format allow. A test holds that every example fits the model it is an example of.
"""

from collections.abc import Mapping
from typing import Any

_ID = "7d444840-9dc0-41d1-b245-5ffdce74fad2"
_AT = "2026-03-01T12:00:00Z"

#: What a property of this name holds, or of this name in this model. A null is for those that are
#: mostly absent.
NAMED: Mapping[str, Any] = {
    "access_token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI3ZDQ0NDg0MCJ9.c2lnbmF0dXJl",
    "accepted": 100, "accepted_source": 50, "accepted_target": 50,
    "address": "192.0.2.7",
    "aggregate_id": "acme/shopify-stripe", "aggregate_type": "reconciliation",
    "alg": "EdDSA", "crv": "Ed25519", "kid": "2026-03", "kty": "OKP", "use": "sig",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "assignee": None,
    "category": "amount_mismatch",
    "code": "ot_4f1c09ab77de_Zm9yIHNob3cgb25seQ",
    "correlation_id": "close-of-march",
    "count": 1,
    "currency": "EUR",
    "current_password": "correct horse battery",
    "detail": "differs by 1.00, the limit is 0.50",
    "email": "ada@example.com",
    "error": "not_found",
    "event_type": "RecordUnmatched",
    "exception": 5, "exceptions_open": 5,
    "expires_in": 900,
    "failed": "amount",
    "global_position": 42, "position": 42, "updated_position": 42, "stream_version": 7,
    "key": "rk_4f1c09ab77de_Zm9yIHNob3cgb25seQ", "key_id": "4f1c09ab77de", "key_name": "dashboard",
    "match": None, "match_id": _ID,
    "match_rate": 0.9, "match_type": "one_to_one",
    "matched": 90, "matches_confirmed": 45,
    "message": "There is no match '7d444840' for this tenant.",
    "name": "Shopify orders against Stripe charges",
    "next_cursor": None,
    "overlap_seconds": 3600,
    "password": "battery horse correct",
    "path": "rules[0].amount",
    "pending": 5,
    "raw": '{"amount": "1,0"}',
    "reason": "no counterpart within the amount tolerance",
    "reconciliation_id": "shopify-stripe",
    "refresh_token": "rt_4f1c09ab77de_Zm9yIHNob3cgb25seQ",
    "request_id": "5f3c0a6e1b1d4f0f9a4c2d7e8b6a9c01",
    "requests_per_minute": 6000,
    "resolution": None, "redriven_at": None, "rotated_from": None,
    "role": "developer",
    "rule": "order-reference",
    "scopes": "read",
    "source_ids": "ORD-1001", "target_ids": "CH-9001", "transaction_id": "ORD-1001",
    "status": "active",
    "stream_id": "acme/shopify-stripe",
    "target": "4f1c09ab77de",
    "tenant_id": "acme",
    "topic": "settler.transactions.source",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "user_agent": "curl/8.5.0",
    "user_id": _ID,
    "outcome": None, "decided_at": None,
    "Account.name": "Ada", "NewUser.name": "Ada", "User.name": "Ada", "UserChange.name": "Ada",
    "ApiKey.name": "dashboard", "KeyRequest.name": "dashboard", "NewApiKey.name": "dashboard",
    "Candidate.side": "target", "Candidate.transaction_id": "CH-9001",
    "Confirm.reason": "one order, checked with the shop",
    "Decide.reason": "another order of the same amount",
    "MatchMembers.reason": "one order, checked with the shop",
    "RedriveMany.code": "unknown_reconciliation",
    "Tenant.name": "Acme Ltd", "TenantChange.name": "Acme Ltd",
    "definition": {"reconciliation_id": "shopify-stripe", "rules": []},
    "wait": 5,
}  # fmt: skip

_FORMATS = {
    "uuid": _ID,
    "date-time": _AT,
    "date": "2026-03-01",
    "password": "correct horse battery",
}


def make_example(schema: Mapping[str, Any], definitions: Mapping[str, Any], name: str = "") -> Any:
    """Make a value that fits a schema.

    Args:
        schema: JSON Schema, as pydantic writes it.
        definitions: What `$ref` names, by the last part of the reference.
        name: Of the property that holds the value.
    """
    if "$ref" in schema and "." not in name:
        return make_example(definitions[schema["$ref"].rpartition("/")[2]], definitions, name)
    if "." in name:
        return NAMED[name]
    for told in (schema.get("examples"), schema.get("enum")):
        if told:
            return told[0]
    if "const" in schema:
        return schema["const"]
    alternatives = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    options = [option for option in alternatives if option.get("type") != "null"]
    if options:
        is_absent = len(options) < len(alternatives) and NAMED.get(name, "") is None
        return None if is_absent else make_example(options[0], definitions, name)
    return _of_type(schema, definitions, name)


def _of_type(schema: Mapping[str, Any], definitions: Mapping[str, Any], name: str) -> Any:
    kind = schema.get("type")
    named = NAMED.get(name)
    if kind == "object":
        if "properties" not in schema:
            return named if isinstance(named, dict) else {}
        found = {}
        for each, of_each in schema["properties"].items():
            own = f"{schema.get('title')}.{each}"
            found[each] = make_example(of_each, definitions, own if own in NAMED else each)
        return found
    if kind == "array":
        return [make_example(schema["items"], definitions, name)]
    if kind == "boolean":
        return True
    if kind in {"integer", "number"}:
        fits = isinstance(named, int | float) and not isinstance(named, bool)
        return named if fits else max(1, schema.get("minimum", 1))
    if isinstance(named, str):
        return named
    return _FORMATS.get(schema.get("format", ""), "text")
