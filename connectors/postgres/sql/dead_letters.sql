-- The ids go out as text; ordering names the column itself, or it would be by that text and past the
-- index.

-- list_letters --
SELECT dead_letter_id::text, topic, partition, "offset", tenant_id, reconciliation_id,
       transaction_id, side, raw, code, message, received_at, redrive_requested_at, redriven_at,
       published_at, redrive_outcome
FROM dead_letter_queue
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(code)s::text IS NULL OR code = %(code)s)
  AND (%(after)s::uuid IS NULL OR (received_at, dead_letter_id) < (
        SELECT received_at, dead_letter_id FROM dead_letter_queue
        WHERE dead_letter_id = %(after)s::uuid))
ORDER BY received_at DESC, dead_letter_queue.dead_letter_id DESC LIMIT %(limit)s;

-- get_letter --
SELECT dead_letter_id::text, topic, partition, "offset", tenant_id, reconciliation_id,
       transaction_id, side, raw, code, message, received_at, redrive_requested_at, redriven_at,
       published_at, redrive_outcome
FROM dead_letter_queue WHERE dead_letter_id = %(dead_letter_id)s::uuid;

-- request_redrive --
-- Asking again for what is on its way already is harmless.
UPDATE dead_letter_queue SET redrive_requested_at = clock_timestamp(), redriven_at = NULL
WHERE dead_letter_id = ANY (%(dead_letter_ids)s::uuid[]);

-- request_redrive_of_code --
UPDATE dead_letter_queue SET redrive_requested_at = clock_timestamp(), redriven_at = NULL
WHERE code = %(code)s AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s);

-- read_redrivable --
-- Asked for by a person, or turned away for want of a definition that is there now.
SELECT dead_letter_id::text, topic, partition, "offset", tenant_id, reconciliation_id,
       transaction_id, side, raw, code, message, received_at, redrive_requested_at, redriven_at,
       published_at, redrive_outcome
FROM dead_letter_queue
WHERE redriven_at IS NULL
  AND (redrive_requested_at IS NOT NULL OR code = 'unknown_reconciliation')
  AND (redrive_requested_at IS NOT NULL OR EXISTS (
        SELECT FROM streams
        WHERE streams.stream_id = dead_letter_queue.tenant_id || '/' || dead_letter_queue.reconciliation_id
          AND streams.definition_version > 0))
  AND dead_letter_id <> ALL (%(exclude)s::uuid[])
ORDER BY received_at, dead_letter_queue.dead_letter_id LIMIT %(limit)s;

-- read_unpublished --
SELECT dead_letter_id::text, topic, partition, "offset", tenant_id, reconciliation_id,
       transaction_id, side, raw, code, message, received_at, redrive_requested_at, redriven_at,
       published_at, redrive_outcome
FROM dead_letter_queue WHERE published_at IS NULL
ORDER BY received_at, dead_letter_queue.dead_letter_id LIMIT %(limit)s;

-- mark_published --
-- The code is part of the condition: a letter that got another reason meanwhile is news again.
UPDATE dead_letter_queue SET published_at = clock_timestamp()
FROM unnest(%(dead_letter_ids)s::uuid[], %(codes)s::text[]) AS sent (dead_letter_id, code)
WHERE dead_letter_queue.dead_letter_id = sent.dead_letter_id
  AND dead_letter_queue.code = sent.code;
