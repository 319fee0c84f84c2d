-- list_batches --
-- As many whole batches as hold the next events of a list: their sizes are added up first, so that
-- the texts of no more batches than needed are read.
WITH heads AS (
    SELECT last_position,
           sum(least(event_count, last_position - %(position)s)) OVER (ORDER BY last_position)
               - least(event_count, last_position - %(position)s) AS events_before
    FROM (
        SELECT last_position, event_count
        FROM event_store
        WHERE tenant_id = %(tenant_id)s
          AND last_position > %(position)s
          AND (%(stream_id)s::text IS NULL OR stream_id = %(stream_id)s)
          AND (%(correlation_id)s::text IS NULL OR correlation_id = %(correlation_id)s)
        ORDER BY last_position
        LIMIT %(limit)s
    ) AS next_batches
)
SELECT b.last_position, b.first_position, b.reconciliation_id, b.stream_id, b.base_version,
       b.event_count, b.format, b.events, b.metadata, b.created_at
FROM heads
JOIN event_store AS b USING (last_position)
WHERE heads.events_before < %(limit)s AND b.tenant_id = %(tenant_id)s
ORDER BY b.last_position;
