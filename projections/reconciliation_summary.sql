-- add_summary --
INSERT INTO reconciliation_summary AS kept (
    tenant_id, reconciliation_id, name, definition_version, accepted_source, accepted_target,
    redelivered, rejected, matches_confirmed, transactions_matched, suggestions_open,
    transactions_suggested, exceptions_open, exceptions_resolved, transactions_exception,
    duplicates, superseded, status, watermark_at, first_event_at, last_event_at, position)
VALUES (
    %(tenant_id)s, %(reconciliation_id)s, %(name)s, coalesce(%(definition_version)s, 0),
    %(accepted_source)s, %(accepted_target)s, %(redelivered)s, %(rejected)s,
    %(matches_confirmed)s, %(transactions_matched)s, %(suggestions_open)s,
    %(transactions_suggested)s, %(exceptions_open)s, %(exceptions_resolved)s,
    %(transactions_exception)s, %(duplicates)s, %(superseded)s,
    coalesce(%(status)s::text, 'active'), %(watermark_at)s, %(first_event_at)s, %(last_event_at)s,
    %(position)s)
ON CONFLICT ON CONSTRAINT reconciliation_summary_pkey DO UPDATE SET
    name = coalesce(excluded.name, kept.name),
    definition_version = greatest(excluded.definition_version, kept.definition_version),
    accepted_source = kept.accepted_source + excluded.accepted_source,
    accepted_target = kept.accepted_target + excluded.accepted_target,
    redelivered = kept.redelivered + excluded.redelivered,
    rejected = kept.rejected + excluded.rejected,
    matches_confirmed = kept.matches_confirmed + excluded.matches_confirmed,
    transactions_matched = kept.transactions_matched + excluded.transactions_matched,
    suggestions_open = kept.suggestions_open + excluded.suggestions_open,
    transactions_suggested = kept.transactions_suggested + excluded.transactions_suggested,
    exceptions_open = kept.exceptions_open + excluded.exceptions_open,
    exceptions_resolved = kept.exceptions_resolved + excluded.exceptions_resolved,
    transactions_exception = kept.transactions_exception + excluded.transactions_exception,
    duplicates = kept.duplicates + excluded.duplicates,
    superseded = kept.superseded + excluded.superseded,
    status = coalesce(%(status)s::text, kept.status),
    watermark_at = coalesce(excluded.watermark_at, kept.watermark_at),
    last_event_at = excluded.last_event_at,
    position = excluded.position;

-- add_totals --
INSERT INTO reconciliation_totals AS kept (
    tenant_id, reconciliation_id, side, currency, accepted_count, accepted_minor, matched_count,
    matched_minor, suggested_count, suggested_minor, exception_count, exception_minor,
    duplicate_count, duplicate_minor, superseded_count, superseded_minor)
VALUES (
    %(tenant_id)s, %(reconciliation_id)s, %(side)s, %(currency)s, %(accepted_count)s,
    %(accepted_minor)s, %(matched_count)s, %(matched_minor)s, %(suggested_count)s,
    %(suggested_minor)s, %(exception_count)s, %(exception_minor)s, %(duplicate_count)s,
    %(duplicate_minor)s, %(superseded_count)s, %(superseded_minor)s)
ON CONFLICT ON CONSTRAINT reconciliation_totals_pkey DO UPDATE SET
    accepted_count = kept.accepted_count + excluded.accepted_count,
    accepted_minor = kept.accepted_minor + excluded.accepted_minor,
    matched_count = kept.matched_count + excluded.matched_count,
    matched_minor = kept.matched_minor + excluded.matched_minor,
    suggested_count = kept.suggested_count + excluded.suggested_count,
    suggested_minor = kept.suggested_minor + excluded.suggested_minor,
    exception_count = kept.exception_count + excluded.exception_count,
    exception_minor = kept.exception_minor + excluded.exception_minor,
    duplicate_count = kept.duplicate_count + excluded.duplicate_count,
    duplicate_minor = kept.duplicate_minor + excluded.duplicate_minor,
    superseded_count = kept.superseded_count + excluded.superseded_count,
    superseded_minor = kept.superseded_minor + excluded.superseded_minor;

-- read_suggested --
SELECT tenant_id, reconciliation_id, side, transaction_id, currency, amount_minor,
       suggestion_ids::text[]
FROM suggested_transactions
JOIN unnest(%(tenant_ids)s::text[], %(reconciliation_ids)s::text[], %(sides)s::text[],
            %(transaction_ids)s::text[])
    AS asked (tenant_id, reconciliation_id, side, transaction_id)
    USING (tenant_id, reconciliation_id, side, transaction_id);

-- delete_suggested --
DELETE FROM suggested_transactions AS kept
USING unnest(%(tenant_ids)s::text[], %(reconciliation_ids)s::text[], %(sides)s::text[],
             %(transaction_ids)s::text[])
    AS asked (tenant_id, reconciliation_id, side, transaction_id)
WHERE (kept.tenant_id, kept.reconciliation_id, kept.side, kept.transaction_id)
    = (asked.tenant_id, asked.reconciliation_id, asked.side, asked.transaction_id);

-- copy_suggested --
COPY suggested_transactions (tenant_id, reconciliation_id, side, transaction_id, currency,
                             amount_minor, suggestion_ids)
FROM STDIN;
