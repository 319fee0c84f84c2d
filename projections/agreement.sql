-- hold_still --
-- Before the first query, which fixes the snapshot: a rebuild may not switch tables under it.
LOCK TABLE matches, exceptions, reconciliation_summary, reconciliation_totals, control_totals,
    period_statements IN ACCESS SHARE MODE;

-- read_positions --
SELECT name, position FROM projection_checkpoints
WHERE name = ANY (%(names)s::text[]);

-- read_summaries --
SELECT tenant_id, reconciliation_id, definition_version, accepted_source, accepted_target,
       redelivered, rejected, matches_confirmed, transactions_matched, suggestions_open,
       transactions_suggested, exceptions_open, exceptions_resolved, transactions_exception,
       duplicates, superseded, pending
FROM reconciliation_summary
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s);

-- read_totals --
SELECT tenant_id, reconciliation_id, side, currency, accepted_count, matched_count, suggested_count,
       exception_count, duplicate_count, superseded_count, pending_count, accepted_minor,
       matched_minor, exception_minor, duplicate_minor, superseded_minor
FROM reconciliation_totals
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s);

-- count_matches --
SELECT tenant_id, reconciliation_id, status, currency, count(*), sum(source_minor),
       sum(target_minor)
FROM matches
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
GROUP BY tenant_id, reconciliation_id, status, currency;

-- count_exceptions --
SELECT tenant_id, reconciliation_id,
       count(*) FILTER (WHERE status IN ('open', 'in_progress')),
       count(*) FILTER (WHERE status NOT IN ('open', 'in_progress')),
       count(*) FILTER (WHERE status = 'in_progress'), coalesce(sum(comments), 0)::bigint
FROM exceptions
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
GROUP BY tenant_id, reconciliation_id;

-- read_days --
SELECT tenant_id, reconciliation_id, day::text, side, currency, accepted_count, matched_count,
       suggested_count, exception_count, duplicate_count, superseded_count, rejected_count,
       redelivered_count, accepted_minor, matched_minor, exception_minor, duplicate_minor,
       superseded_minor
FROM control_totals
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s);

-- read_statements --
SELECT tenant_id, reconciliation_id, day::text, statement, hash, previous_hash
FROM period_statements
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
ORDER BY tenant_id, reconciliation_id, period_statements.day;
