-- in_two_matches --
SELECT tenant_id, reconciliation_id, side, transaction_id
FROM (SELECT tenant_id, reconciliation_id, 'source' AS side, unnest(source_ids) AS transaction_id
      FROM matches WHERE status = 'confirmed'
      UNION ALL
      SELECT tenant_id, reconciliation_id, 'target', unnest(target_ids)
      FROM matches WHERE status = 'confirmed') AS members
GROUP BY tenant_id, reconciliation_id, side, transaction_id
HAVING count(*) > 1;

-- gaps --
-- Batches that do not follow on: in position over the log, in version within a stream.
SELECT stream_id, base_version + 1, first_position
FROM (SELECT stream_id, base_version, first_position,
             lag(last_position, 1, 0::bigint) OVER (ORDER BY last_position) AS before,
             lag(base_version + event_count, 1, 0::bigint)
                 OVER (PARTITION BY stream_id ORDER BY base_version) AS version_before
      FROM event_store) AS batches
WHERE first_position <> before + 1 OR base_version <> version_before;

-- versions --
SELECT stream_id, max(base_version + event_count) FROM event_store GROUP BY stream_id;

-- read --
SELECT coalesce(sum(next_offset), 0) FROM source_checkpoints;

-- behind --
-- Publishing has its checkpoint beside those of the read models.
SELECT (SELECT position FROM log_head)
       - coalesce((SELECT min(position) FROM projection_checkpoints), 0);
