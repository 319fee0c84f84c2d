-- find_moment --
-- The batch of a reconciliation in force at a position or an instant, where the log ends, and now.
SELECT log_head.position AS head, clock_timestamp() AS now,
       batch.base_version + batch.event_count AS version, batch.last_position AS position
FROM log_head
LEFT JOIN event_store AS batch
    ON batch.stream_id = %(stream_id)s
    AND batch.base_version = batch_at(%(stream_id)s, %(position)s::bigint, %(instant)s::timestamptz);

-- read_stream_events --
-- The next batches of a stream up to a version, without journals: the first in any case, then as
-- many as fit.
SELECT last_position, first_position, tenant_id, reconciliation_id, base_version, format, events,
       coalesce(octet_length(journal), 0) AS journal_bytes, created_at, 0::bigint AS stream_hash
FROM (
    SELECT *, sum(octet_length(events)) OVER (ORDER BY base_version) AS bytes_through
    FROM (SELECT * FROM event_store
          WHERE stream_id = %(stream_id)s AND base_version >= %(from_version)s
            AND base_version < %(until)s
          ORDER BY base_version LIMIT 100) AS ahead
) AS measured
WHERE bytes_through <= %(bytes_max)s OR base_version = %(from_version)s
ORDER BY base_version;
