-- read_sources --
SELECT partition, next_offset, cluster_id, topic_id FROM source_checkpoints
WHERE topic = %(topic)s ORDER BY partition;

-- save_source --
-- Never backwards, never across incarnations of a topic.
INSERT INTO source_checkpoints (topic, partition, next_offset, cluster_id, topic_id)
VALUES (%(topic)s, %(partition)s, %(next_offset)s, %(cluster_id)s, %(topic_id)s)
ON CONFLICT ON CONSTRAINT source_checkpoints_pkey DO UPDATE SET
    next_offset = greatest(source_checkpoints.next_offset, excluded.next_offset),
    updated_at = clock_timestamp()
WHERE source_checkpoints.cluster_id = excluded.cluster_id
  AND source_checkpoints.topic_id = excluded.topic_id;

-- forget_sources --
DELETE FROM source_checkpoints WHERE topic = ANY (%(topics)s::text[]);

-- forget_stream_offsets --
-- The fence goes up, so that a flow still running cannot write the old offsets back.
UPDATE streams SET
    next_offset = coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each(next_offset)
                            WHERE split_part(key, '/', 1) <> ALL (%(topics)s::text[])), '{}'),
    fence = fence + 1,
    updated_at = clock_timestamp()
WHERE EXISTS (SELECT FROM jsonb_object_keys(next_offset) AS key
              WHERE split_part(key, '/', 1) = ANY (%(topics)s::text[]));

-- note_resets --
-- After the fences went up: what the old offsets could write is in the log by now.
INSERT INTO topic_resets (topic, letters_topic, position)
SELECT topic,
       topic || '@' || to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISSUS'),
       (SELECT position FROM log_head)
FROM unnest(%(topics)s::text[]) AS asked (topic);

-- set_letters_aside --
-- Offsets start anew, and a new bad record must not meet an old one of the same place.
UPDATE dead_letter_queue SET
    topic = topic || '@' || to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISSUS')
WHERE topic = ANY (%(topics)s::text[]);

-- read_projection --
SELECT position FROM projection_checkpoints WHERE name = %(name)s;

-- advance_projection --
INSERT INTO projection_checkpoints (name, position)
SELECT %(name)s, %(position)s
WHERE %(expected)s = 0 OR EXISTS (SELECT FROM projection_checkpoints WHERE name = %(name)s)
ON CONFLICT ON CONSTRAINT projection_checkpoints_pkey DO UPDATE SET
    position = excluded.position, updated_at = clock_timestamp()
WHERE projection_checkpoints.position = %(expected)s;
