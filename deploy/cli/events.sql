-- list_batches --
-- As an operator: every tenant's, in commit order.
SELECT last_position, first_position, stream_id, tenant_id, reconciliation_id, base_version,
       event_count, format, events, metadata, created_at
FROM event_store
WHERE last_position > %(after)s
  AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(stream_id)s::text IS NULL OR stream_id = %(stream_id)s)
  AND (%(correlation_id)s::text IS NULL OR correlation_id = %(correlation_id)s)
ORDER BY last_position LIMIT %(limit)s;
