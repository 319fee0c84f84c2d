-- backtest_size --
SELECT coalesce(sum(event_count), 0)::bigint AS events,
       coalesce(sum(octet_length(journal)), 0)::bigint AS journal_bytes
FROM event_store
WHERE tenant_id = %(tenant_id)s AND stream_id = %(stream_id)s;

-- backtest_batches --
SELECT base_version + event_count AS version, format, events, journal FROM event_store
WHERE tenant_id = %(tenant_id)s AND stream_id = %(stream_id)s AND base_version >= %(version)s
ORDER BY base_version LIMIT 1;
