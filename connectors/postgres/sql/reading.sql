-- read_batches --
SELECT last_position, first_position, stream_id, tenant_id, reconciliation_id, base_version,
       event_count, format, events, CASE WHEN %(with_journal)s THEN journal END, metadata, created_at
FROM event_store
WHERE last_position > %(after_position)s
ORDER BY last_position LIMIT %(limit)s;

-- read_stream --
-- A batch that ends after the version but begins before it is part of the answer.
SELECT last_position, first_position, stream_id, tenant_id, reconciliation_id, base_version,
       event_count, format, events, CASE WHEN %(with_journal)s THEN journal END, metadata, created_at
FROM event_store
WHERE stream_id = %(stream_id)s
  AND base_version >= coalesce((SELECT max(base_version) FROM event_store
                                WHERE stream_id = %(stream_id)s
                                  AND base_version <= %(after_version)s), 0)
  AND base_version + event_count > %(after_version)s
ORDER BY base_version LIMIT %(limit)s;

-- read_head --
SELECT position FROM log_head;

-- find_gaps --
-- Every place where a stream's versions or the log's positions do not follow on: none, ever.
SELECT 'version' AS kind, stream_id, expected, found FROM (
    SELECT stream_id, base_version AS found,
           coalesce(lag(base_version + event_count) OVER (PARTITION BY stream_id
                                                          ORDER BY base_version), 0) AS expected
    FROM event_store) AS versions
WHERE expected <> found
UNION ALL
SELECT 'position', stream_id, expected, found FROM (
    SELECT stream_id, first_position AS found,
           coalesce(lag(last_position) OVER (ORDER BY last_position), 0) + 1 AS expected
    FROM event_store) AS positions
WHERE expected <> found
UNION ALL
SELECT 'stream', streams.stream_id, streams.version, coalesce(written.version, 0)
FROM streams LEFT JOIN (
    SELECT stream_id, max(base_version + event_count) AS version
    FROM event_store GROUP BY stream_id) AS written USING (stream_id)
WHERE streams.version <> coalesce(written.version, 0)
UNION ALL
SELECT 'head', NULL, position, coalesce((SELECT max(last_position) FROM event_store), 0)
FROM log_head WHERE position <> coalesce((SELECT max(last_position) FROM event_store), 0)
LIMIT %(limit)s;
