-- read_positions --
SELECT name, position FROM projection_checkpoints
WHERE name = ANY (%(names)s::text[]);

-- read_summary --
SELECT definition_version, accepted_source, accepted_target, redelivered, rejected,
       matches_confirmed, transactions_matched, suggestions_open, transactions_suggested,
       exceptions_open, exceptions_resolved, transactions_exception, duplicates, superseded, pending
FROM reconciliation_summary
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s;

-- read_totals --
SELECT side, currency, accepted_count, matched_count, suggested_count, exception_count,
       duplicate_count, superseded_count, pending_count, accepted_minor, matched_minor,
       exception_minor, duplicate_minor, superseded_minor
FROM reconciliation_totals
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
ORDER BY side, currency;

-- count_matches --
SELECT status, currency, count(*), sum(source_minor), sum(target_minor)
FROM matches
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
GROUP BY status, currency ORDER BY status, currency;

-- count_exceptions --
SELECT count(*) FILTER (WHERE status IN ('open', 'in_progress')),
       count(*) FILTER (WHERE status NOT IN ('open', 'in_progress'))
FROM exceptions
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s;
