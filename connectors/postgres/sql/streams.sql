-- create_stream --
INSERT INTO streams (stream_id, tenant_id, reconciliation_id, version, fence)
VALUES (%(stream_id)s, %(tenant_id)s, %(reconciliation_id)s, 0, 0)
ON CONFLICT ON CONSTRAINT streams_pkey DO NOTHING;

-- bump_fence --
-- The row stays locked until the claim commits, so version and batches below it belong together.
UPDATE streams SET fence = fence + 1, updated_at = clock_timestamp()
WHERE stream_id = %(stream_id)s
RETURNING version, fence, next_offset, definition_version;

-- newest_snapshot --
-- One of another release's format is passed over: the batches hold all that it was made from.
SELECT version, format, state FROM snapshots
WHERE stream_id = %(stream_id)s AND version <= %(version)s AND format = ANY (%(formats)s::smallint[])
ORDER BY version DESC LIMIT 1;

-- database_time --
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- due_streams --
SELECT stream_id, wake_at FROM streams
WHERE wake_at <= timestamptz 'epoch' + %(until_us)s * interval '1 microsecond'
ORDER BY wake_at LIMIT %(limit)s;
