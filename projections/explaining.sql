-- explained_match --
SELECT match_id::text, reconciliation_id, position, updated_position
FROM matches
WHERE tenant_id = %(tenant_id)s AND match_id = %(match_id)s::uuid;

-- explained_exception --
SELECT exception_id::text, reconciliation_id, side, transaction_id, position, updated_position,
       coalesce(first_position, position) AS first_position, version
FROM exceptions
WHERE tenant_id = %(tenant_id)s AND exception_id = %(exception_id)s::uuid;

-- definition_in_force --
-- The version that was in force at a position of the log, once the versions up to there are read.
SELECT version, definition
FROM definitions
WHERE tenant_id = %(tenant_id)s
  AND reconciliation_id = %(reconciliation_id)s
  AND position <= %(position)s
  AND %(needs)s <= coalesce((SELECT position FROM projection_checkpoints
                             WHERE name = 'definitions'), 0)
ORDER BY position DESC
LIMIT 1;

-- outlook --
SELECT status, watermark_at
FROM reconciliation_summary
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s;

-- batch_at --
SELECT first_position, base_version, format, events, journal, created_at,
       metadata ->> 'user_id' AS user_id
FROM event_store
WHERE tenant_id = %(tenant_id)s AND last_position >= %(position)s
ORDER BY last_position
LIMIT 1;

-- journals_before --
-- A stream's batches, newest first, from the one that holds a position on: their journals, and the
-- events only where content alone does not tell what stood.
SELECT first_position, base_version, format, journal, created_at,
       metadata ->> 'user_id' AS user_id,
       coalesce(octet_length(journal), 0) + octet_length(events) AS read_bytes,
       CASE WHEN last_position >= %(position)s OR strpos(events, '"TransactionSuperseded"') > 0
            THEN events END AS events
FROM event_store
WHERE tenant_id = %(tenant_id)s
  AND stream_id = %(stream_id)s
  AND base_version < %(before_version)s
  AND first_position <= %(position)s
  AND journal IS NOT NULL
ORDER BY base_version DESC
LIMIT %(limit)s;

-- story_before --
-- A stream's batches, newest first, with the events of those that name a transaction.
SELECT first_position, base_version, format, journal, created_at,
       metadata ->> 'user_id' AS user_id,
       coalesce(octet_length(journal), 0) + octet_length(events) AS read_bytes,
       CASE WHEN strpos(events, %(quoted_id)s) > 0 THEN events END AS events
FROM event_store
WHERE tenant_id = %(tenant_id)s
  AND stream_id = %(stream_id)s
  AND base_version < %(before_version)s
ORDER BY base_version DESC
LIMIT %(limit)s;

-- mentions_before --
-- The batches that name a transaction between two positions, newest first.
SELECT first_position, base_version, format, NULL::bytea AS journal, created_at, events,
       metadata ->> 'user_id' AS user_id, octet_length(events) AS read_bytes
FROM event_store
WHERE tenant_id = %(tenant_id)s
  AND stream_id = %(stream_id)s
  AND base_version < %(before_version)s
  AND first_position <= %(until_position)s
  AND last_position >= %(from_position)s
  AND strpos(events, %(quoted_id)s) > 0
ORDER BY base_version DESC
LIMIT %(limit)s;

-- casework --
-- What people did with an exception, oldest first, up to the version that is explained.
SELECT first_position, format, events, created_at, metadata ->> 'user_id' AS user_id
FROM event_store
WHERE tenant_id = %(tenant_id)s
  AND stream_id = %(stream_id)s
  AND base_version < %(until_version)s
ORDER BY base_version;
