-- list_reconciliations --
SELECT tenant_id, reconciliation_id, name, definition_version, status,
       accepted_source, accepted_target, pending, transactions_matched, transactions_suggested,
       transactions_exception, duplicates, superseded, matches_confirmed, suggestions_open,
       exceptions_open, exceptions_resolved, redelivered, rejected,
       watermark_at, first_event_at, last_event_at, position
FROM reconciliation_summary
WHERE tenant_id = %(tenant_id)s
  AND reconciliation_id > %(after)s
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY reconciliation_id
LIMIT %(limit)s;

-- list_reconciliation_ids --
-- Those with the fewest transactions first.
SELECT reconciliation_id
FROM reconciliation_summary
WHERE tenant_id = %(tenant_id)s
ORDER BY accepted_source + accepted_target, reconciliation_id
LIMIT %(limit)s;

-- read_reconciliation --
SELECT tenant_id, reconciliation_id, name, definition_version, status,
       accepted_source, accepted_target, pending, transactions_matched, transactions_suggested,
       transactions_exception, duplicates, superseded, matches_confirmed, suggestions_open,
       exceptions_open, exceptions_resolved, redelivered, rejected,
       watermark_at, first_event_at, last_event_at, position
FROM reconciliation_summary
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s;

-- read_totals --
SELECT side, currency, accepted_count, accepted_minor, matched_count, matched_minor,
       suggested_count, suggested_minor, exception_count, exception_minor,
       duplicate_count, duplicate_minor, superseded_count, superseded_minor,
       pending_count, pending_minor
FROM reconciliation_totals
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
ORDER BY side, currency;

-- read_definition --
SELECT version, definition, defined_at, command_id, position
FROM definitions
WHERE tenant_id = %(tenant_id)s
  AND reconciliation_id = %(reconciliation_id)s
  AND (%(version)s::integer IS NULL OR version = %(version)s)
ORDER BY version DESC
LIMIT 1;

-- list_versions --
SELECT version, definition, defined_at, command_id, position
FROM definitions
WHERE tenant_id = %(tenant_id)s
  AND reconciliation_id = %(reconciliation_id)s
  AND version < %(before)s
ORDER BY version DESC
LIMIT %(limit)s;
