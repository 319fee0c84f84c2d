-- read_feed_position --
-- Where the summaries stand, and how far the log goes. Neither belongs to a tenant.
SELECT checkpoint.position, log_head.position AS head
FROM projection_checkpoints AS checkpoint, log_head
WHERE checkpoint.name = 'reconciliation_summary';

-- read_live_summaries --
-- `behind_seconds` is the age of the oldest committed batch that the summary does not hold yet.
-- Summaries and checkpoint move together, so what is behind lies after the checkpoint; the first
-- thousand batches of it are looked at, or a projection that stood still would make this slow too.
WITH behind AS (
    SELECT reconciliation_id, min(created_at) AS since
    FROM (
        SELECT reconciliation_id, created_at
        FROM event_store
        WHERE tenant_id = %(tenant_id)s
          AND last_position > coalesce((SELECT position FROM projection_checkpoints
                                        WHERE name = 'reconciliation_summary'), 0)
        ORDER BY last_position
        LIMIT 1000
    ) AS ahead
    GROUP BY reconciliation_id
)
SELECT s.tenant_id, s.reconciliation_id, s.name, s.definition_version, s.status,
       s.accepted_source, s.accepted_target, s.pending, s.transactions_matched,
       s.transactions_suggested, s.transactions_exception, s.duplicates, s.superseded,
       s.matches_confirmed, s.suggestions_open, s.exceptions_open, s.exceptions_resolved,
       s.redelivered, s.rejected, s.watermark_at, s.first_event_at, s.last_event_at, s.position,
       extract(epoch FROM clock_timestamp() - behind.since)::float8 AS behind_seconds
FROM reconciliation_summary AS s
LEFT JOIN behind ON behind.reconciliation_id = s.reconciliation_id
WHERE s.tenant_id = %(tenant_id)s
ORDER BY s.reconciliation_id
LIMIT 200;

-- read_newest_exceptions --
-- The newest open ones of each reconciliation. Two index scans each, one per status that is open.
SELECT e.*
FROM reconciliation_summary AS r
CROSS JOIN LATERAL (
    SELECT exception_id, reconciliation_id, position, side, transaction_id, category, severity,
           status, resolution, amount_minor, currency, occurred_at, rule, reason, candidates,
           match_id, assignee, definition_version, opened_at, updated_at, updated_position, version,
           comments, resolution_reason,
           exception_due_at(opened_at, severity, (SELECT due_hours FROM tenants
                                                  WHERE tenant_id = %(tenant_id)s)) AS due_at,
           now() >= exception_due_at(
               opened_at, severity, (SELECT due_hours FROM tenants
                                     WHERE tenant_id = %(tenant_id)s)) AS overdue
    FROM (
        (SELECT * FROM exceptions
         WHERE tenant_id = %(tenant_id)s AND reconciliation_id = r.reconciliation_id
           AND status = 'open'
         ORDER BY position DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT * FROM exceptions
         WHERE tenant_id = %(tenant_id)s AND reconciliation_id = r.reconciliation_id
           AND status = 'in_progress'
         ORDER BY position DESC LIMIT %(limit)s)
    ) AS open_ones
    ORDER BY position DESC
    LIMIT %(limit)s
) AS e
WHERE r.tenant_id = %(tenant_id)s
ORDER BY e.reconciliation_id, e.position DESC;
