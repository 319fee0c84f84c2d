-- advance_streams --
-- The compare-and-set of every stream of a flush in one statement. Rows are locked in id order
-- first, so that two flushes cannot wait for each other in a circle.
WITH asked AS (
    SELECT * FROM unnest(
        %(stream_ids)s::text[], %(base_versions)s::bigint[], %(new_versions)s::bigint[],
        %(fences)s::bigint[], %(next_offsets)s::jsonb[], %(wake_ats_us)s::bigint[],
        %(definition_versions)s::integer[]
    ) AS asked (stream_id, base_version, new_version, fence, next_offset, wake_at_us,
                definition_version)
), locked AS MATERIALIZED (
    SELECT stream_id FROM streams WHERE stream_id = ANY (%(stream_ids)s::text[])
    ORDER BY stream_id FOR NO KEY UPDATE
)
UPDATE streams SET
    version = asked.new_version,
    next_offset = streams.next_offset || asked.next_offset,
    wake_at = timestamptz 'epoch' + asked.wake_at_us * interval '1 microsecond',
    definition_version = asked.definition_version,
    updated_at = clock_timestamp()
FROM locked JOIN asked USING (stream_id)
WHERE streams.stream_id = locked.stream_id
  AND streams.version = asked.base_version
  AND streams.fence = asked.fence
RETURNING streams.stream_id;

-- insert_dead_letter --
-- Keyed by its place, so a replay changes nothing. A redriven record that fails for another reason
-- now says the new one.
INSERT INTO dead_letter_queue (topic, partition, "offset", tenant_id, reconciliation_id,
                               transaction_id, side, raw, code, message)
VALUES (%(topic)s, %(partition)s, %(offset)s, %(tenant_id)s, %(reconciliation_id)s,
        %(transaction_id)s, %(side)s, %(raw)s, %(code)s, %(message)s)
ON CONFLICT ON CONSTRAINT dead_letter_queue_pkey DO UPDATE SET
    tenant_id = excluded.tenant_id, reconciliation_id = excluded.reconciliation_id,
    transaction_id = excluded.transaction_id, code = excluded.code, message = excluded.message,
    published_at = NULL
WHERE dead_letter_queue.code <> excluded.code;

-- mark_redriven --
-- Those that were turned away again have come back as letters of this very flush.
UPDATE dead_letter_queue SET redriven_at = clock_timestamp(), redrive_outcome =
    CASE WHEN dead_letter_id = ANY (%(refused_ids)s::uuid[]) THEN 'refused' ELSE 'accepted' END
WHERE dead_letter_id = ANY (%(dead_letter_ids)s::uuid[]);

-- decide_command --
UPDATE inbox SET status = %(status)s, outcome = %(outcome)s, decided_at = clock_timestamp()
WHERE command_id = %(command_id)s::uuid AND status = 'pending';

-- take_positions --
-- A sequence gives numbers at insert, not at commit: a slow writer's event would appear behind a
-- reader. So positions are taken under a row lock, just before the batch rows go in and commit.
UPDATE log_head SET position = position + %(count)s
RETURNING position, pg_notify('settler_events', position::text);

-- copy_batches --
COPY event_store (last_position, first_position, stream_id, tenant_id, reconciliation_id,
                  base_version, event_count, format, events, journal, metadata)
FROM STDIN (FORMAT BINARY);

-- read_newest_format --
SELECT batch_format FROM log_head;

-- read_head --
SELECT position FROM log_head;

-- read_holds --
-- Locks, so that it waits for a commit still under way on a connection that was lost. A lock
-- timeout says so rather than guessing.
SELECT stream_id, version, fence FROM streams
WHERE stream_id = ANY (%(stream_ids)s::text[])
ORDER BY stream_id FOR NO KEY UPDATE;
