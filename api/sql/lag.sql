-- read_lag --
-- What the summary does not hold yet, in batches of this reconciliation alone; a thousand are
-- looked at, or a projection that stood still would make this slow too. Summaries and checkpoint
-- move together, so what is behind lies after the checkpoint.
SELECT s.position, s.watermark_at, newest.last_position AS committed_position,
       newest.created_at AS committed_at, coalesce(behind.batches, 0) AS batches_behind,
       greatest(0, extract(epoch FROM clock_timestamp() - behind.since))::float8 AS lag_seconds,
       greatest(0, extract(epoch FROM clock_timestamp() - s.watermark_at))::float8
           AS event_time_trails_seconds
FROM reconciliation_summary AS s
CROSS JOIN LATERAL (
    SELECT last_position, created_at FROM event_store
    WHERE stream_id = %(stream_id)s AND tenant_id = %(tenant_id)s
    ORDER BY base_version DESC LIMIT 1
) AS newest
LEFT JOIN LATERAL (
    SELECT count(*) AS batches, min(created_at) AS since
    FROM (
        SELECT created_at FROM event_store
        WHERE tenant_id = %(tenant_id)s AND stream_id = %(stream_id)s
          AND last_position > coalesce((SELECT position FROM projection_checkpoints
                                        WHERE name = 'reconciliation_summary'), 0)
        ORDER BY last_position LIMIT 1000
    ) AS ahead
) AS behind ON true
WHERE s.tenant_id = %(tenant_id)s AND s.reconciliation_id = %(reconciliation_id)s;
