-- find_moment --
-- The batch of a reconciliation in force at a position or an instant, where the log ends, and now.
SELECT log_head.position AS head, clock_timestamp() AS now,
       batch.base_version + batch.event_count AS version, batch.last_position AS position
FROM log_head
LEFT JOIN event_store AS batch
    ON batch.stream_id = %(stream_id)s
    AND batch.base_version = batch_at(%(stream_id)s, %(position)s::bigint, %(instant)s::timestamptz);

-- read_events_until --
-- What comes next of a reconciliation, without journals: batches of its stream up to a version, and
-- what people did with its exceptions up to the moment. The first in any case, then as many as fit.
SELECT last_position, first_position, tenant_id, reconciliation_id, base_version, format, events,
       journal_bytes, created_at, 0::bigint AS stream_hash, is_own
FROM (
    SELECT *, sum(octet_length(events)) OVER (ORDER BY last_position) AS bytes_through,
           row_number() OVER (ORDER BY last_position) AS place
    FROM (
        (SELECT last_position, first_position, tenant_id, reconciliation_id, base_version, format,
                events, coalesce(octet_length(journal), 0) AS journal_bytes, created_at,
                true AS is_own
         FROM event_store
         WHERE stream_id = %(stream_id)s AND base_version >= %(from_version)s
           AND base_version < %(until)s
         ORDER BY base_version LIMIT 100)
        UNION ALL
        (SELECT last_position, first_position, tenant_id, reconciliation_id, base_version, format,
                events, 0, created_at, false
         FROM event_store
         WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
           AND stream_id <> tenant_id || '/' || reconciliation_id
           AND last_position > %(after)s
           AND last_position <= coalesce(%(position)s::bigint, last_position)
           AND created_at <= coalesce(%(instant)s::timestamptz, created_at)
         ORDER BY last_position LIMIT 100)
        ORDER BY last_position LIMIT 100
    ) AS ahead
) AS measured
WHERE bytes_through <= %(bytes_max)s OR place = 1
ORDER BY last_position;
