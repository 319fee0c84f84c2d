-- read_feed_position --
-- Where the summaries stand. Checkpoints belong to no tenant.
SELECT position FROM projection_checkpoints WHERE name = 'reconciliation_summary';

-- read_live_summaries --
-- `behind_since` is when the oldest batch was committed that the summary does not hold yet; a batch
-- up to the projection's checkpoint is in it for certain, so only the backlog is looked at.
SELECT s.tenant_id, s.reconciliation_id, s.name, s.definition_version, s.status,
       s.accepted_source, s.accepted_target, s.pending, s.transactions_matched,
       s.transactions_suggested, s.transactions_exception, s.duplicates, s.superseded,
       s.matches_confirmed, s.suggestions_open, s.exceptions_open, s.exceptions_resolved,
       s.redelivered, s.rejected, s.watermark_at, s.first_event_at, s.last_event_at, s.position,
       (SELECT extract(epoch FROM clock_timestamp() - b.created_at)::float8
        FROM event_store AS b
        WHERE b.tenant_id = s.tenant_id
          AND b.reconciliation_id = s.reconciliation_id
          AND b.last_position > greatest(s.position, c.position)
        ORDER BY b.last_position
        LIMIT 1) AS behind_seconds
FROM reconciliation_summary AS s
LEFT JOIN projection_checkpoints AS c ON c.name = 'reconciliation_summary'
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
           match_id, assignee, definition_version, opened_at, updated_at, updated_position
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
