-- Many matches of a kind are one element of a batch, once nobody runs who cannot read that.

ALTER TABLE log_head ADD COLUMN batch_format smallint NOT NULL DEFAULT 1;
COMMENT ON COLUMN log_head.batch_format IS 'newest format of batches that every release still running reads';

-- The events of a batch as [type, field, ...], one each, in order. Format 2 has one element for many
-- matches of a kind in a row: ["MatchedPairs", rule, definition version, [[source id, target id,
-- currency, source's amount, what the target's is above it, newest event time], ...]].
CREATE FUNCTION batch_elements(events jsonb) RETURNS TABLE (element jsonb, ordinal bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(one.element, written.element),
           row_number() OVER (ORDER BY written.place, one.place)
    FROM jsonb_array_elements(events) WITH ORDINALITY AS written (element, place)
    LEFT JOIN LATERAL (
        SELECT jsonb_build_array(
                   'RecordMatched', written.element -> 1, 'one_to_one', written.element -> 2,
                   jsonb_build_array(pair -> 0), jsonb_build_array(pair -> 1), pair -> 2, pair -> 3,
                   (pair ->> 3)::numeric + (pair ->> 4)::numeric, pair -> 5, NULL) AS element,
               pairs.place
        FROM jsonb_array_elements(CASE written.element ->> 0 WHEN 'MatchedPairs' THEN written.element -> 3 END)
            WITH ORDINALITY AS pairs (pair, place)
    ) AS one ON true
$$;

CREATE OR REPLACE VIEW events WITH (security_invoker = true) AS
SELECT
    md5(b.stream_id || ':' || (b.base_version + e.ordinal)::text)::uuid AS event_id,
    b.stream_id,
    b.base_version + e.ordinal AS stream_version,
    b.first_position + e.ordinal - 1 AS global_position,
    CASE WHEN b.stream_id = b.tenant_id || '/' || b.reconciliation_id THEN b.reconciliation_id
         ELSE split_part(b.stream_id, '/', 3) END AS aggregate_id,
    CASE WHEN b.stream_id = b.tenant_id || '/' || b.reconciliation_id THEN 'reconciliation'
         ELSE split_part(b.stream_id, '/', 2) END AS aggregate_type,
    e.element ->> 0 AS event_type,
    CASE WHEN b.format IN (1, 2) THEN 1 END AS event_version,
    coalesce(expand_casework(e.element ->> 0, e.element, b.tenant_id, b.reconciliation_id),
             expand_run(e.element ->> 0, e.element),
             expand_event(e.element ->> 0, e.element, b.tenant_id, b.reconciliation_id)
             || expand_compared(e.element ->> 0, e.element)) AS data,
    jsonb_build_object('tenant_id', b.tenant_id, 'timestamp', b.created_at) || b.metadata AS metadata,
    b.created_at,
    b.tenant_id,
    b.reconciliation_id,
    b.correlation_id,
    b.last_position AS batch_position
FROM event_store AS b
CROSS JOIN LATERAL batch_elements(b.events::jsonb) AS e;

-- A match's version stands in the log; nobody asked the read model for it.
ALTER TABLE matches ALTER stream_version DROP NOT NULL;
