-- read_place --
SELECT base_version + event_count, last_position, created_at
FROM event_store
WHERE stream_id = %(stream_id)s
  AND base_version = batch_at(%(stream_id)s, %(position)s::bigint, %(instant)s::timestamptz);

-- read_now --
SELECT clock_timestamp();

-- read_expiry --
SELECT version, position FROM journal_expiries WHERE stream_id = %(stream_id)s;

-- read_batches --
-- Those with events after one version and up to another.
SELECT base_version, format, events, journal FROM event_store
WHERE stream_id = %(stream_id)s
  AND base_version >= coalesce((SELECT max(base_version) FROM event_store
                                WHERE stream_id = %(stream_id)s
                                  AND base_version <= %(after)s), 0)
  AND base_version + event_count > %(after)s
  AND base_version < %(until)s
ORDER BY base_version;

-- list_reconciliations --
SELECT stream_id, tenant_id, reconciliation_id FROM streams
WHERE stream_id = tenant_id || '/' || reconciliation_id
  AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
ORDER BY stream_id;

-- count_journals --
-- Of batches that end after one version and up to another.
SELECT count(*), coalesce(sum(octet_length(journal)), 0) FROM event_store
WHERE stream_id = %(stream_id)s
  AND base_version + event_count <= %(until)s
  AND base_version < %(until)s
  AND journal IS NOT NULL;

-- lock_stream --
-- A flow that takes hold of the stream holds this row until it has read all it folds.
SELECT version FROM streams WHERE stream_id = %(stream_id)s FOR UPDATE;

-- drop_up_to_anchor --
DELETE FROM snapshots WHERE stream_id = %(stream_id)s AND version <= %(version)s;

-- save_anchor --
INSERT INTO snapshots (stream_id, version, format, state)
VALUES (%(stream_id)s, %(version)s, %(format)s, %(state)s);

-- save_expiry --
INSERT INTO journal_expiries AS kept (stream_id, tenant_id, reconciliation_id, version, position)
VALUES (%(stream_id)s, %(tenant_id)s, %(reconciliation_id)s, %(version)s, %(position)s)
ON CONFLICT ON CONSTRAINT journal_expiries_pkey DO UPDATE SET
    version = excluded.version, position = excluded.position, expired_at = clock_timestamp();

-- expire_journals --
-- A few at a time, so that no transaction is long.
UPDATE event_store SET journal = NULL
WHERE last_position IN (
    SELECT last_position FROM event_store
    WHERE stream_id = %(stream_id)s
      AND base_version > %(after)s
      AND base_version + event_count <= %(version)s
      AND journal IS NOT NULL
    ORDER BY base_version LIMIT %(limit)s)
RETURNING base_version;

-- read_casework --
-- What people did with the exceptions of a reconciliation, up to a moment.
SELECT last_position, first_position, tenant_id, reconciliation_id, base_version, format, events,
       0, created_at, 0::bigint
FROM event_store
WHERE tenant_id = split_part(%(stream_id)s, '/', 1)
  AND reconciliation_id = split_part(%(stream_id)s, '/', 2)
  AND stream_id <> tenant_id || '/' || reconciliation_id
  AND last_position <= coalesce(%(position)s::bigint, last_position)
  AND created_at <= coalesce(%(instant)s::timestamptz, created_at)
ORDER BY last_position;

-- read_events --
-- Without journals, whose lengths are known without reading them.
SELECT last_position, first_position, tenant_id, reconciliation_id, base_version, format, events,
       coalesce(octet_length(journal), 0), created_at, 0::bigint
FROM event_store
WHERE stream_id = %(stream_id)s AND base_version < %(until)s
ORDER BY base_version;
