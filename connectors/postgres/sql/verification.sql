-- list_streams --
-- Every stream that has a row or a batch; a batch without its stream's row is version -1.
SELECT stream_id, tenant_id, reconciliation_id, version, next_offset
FROM streams
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
UNION ALL
SELECT DISTINCT stream_id, tenant_id, reconciliation_id, -1, '{}'::jsonb
FROM event_store
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
  AND NOT EXISTS (SELECT FROM streams WHERE streams.stream_id = event_store.stream_id)
ORDER BY 1;

-- read_stream --
SELECT first_position, last_position, base_version, event_count, format, events, journal,
       created_at
FROM event_store WHERE stream_id = %(stream_id)s
ORDER BY base_version;

-- read_casework --
SELECT stream_id, first_position, last_position, base_version, event_count, format, events, journal,
       created_at
FROM event_store WHERE stream_id = ANY (%(stream_ids)s::text[])
ORDER BY last_position;

-- read_places --
SELECT first_position, last_position, stream_id, base_version FROM event_store
ORDER BY last_position;

-- list_resets --
SELECT topic, letters_topic, position FROM topic_resets ORDER BY position, topic;

-- list_letters --
-- Certain is what no redrive and no later definition can have changed.
SELECT topic, partition, "offset",
       redriven_at IS NULL AND redrive_requested_at IS NULL AND code <> 'unknown_reconciliation'
FROM dead_letter_queue
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
ORDER BY topic, partition, "offset";

-- list_letter_offsets --
SELECT topic, partition, "offset" FROM dead_letter_queue
WHERE topic = ANY (%(topics)s::text[])
ORDER BY topic, partition, "offset";

-- list_sources --
SELECT topic, partition, next_offset, cluster_id, topic_id FROM source_checkpoints
WHERE topic = ANY (%(topics)s::text[])
ORDER BY topic, partition;

-- read_anchor --
-- The snapshot that stands in for the journals that have expired.
SELECT expiry.version, snapshots.format, snapshots.state
FROM journal_expiries AS expiry
LEFT JOIN snapshots ON snapshots.stream_id = expiry.stream_id
    AND snapshots.version = expiry.version
WHERE expiry.stream_id = %(stream_id)s;
