-- What a match compared, where its rule does not take amounts as they are.

CREATE FUNCTION expand_compared(event_type text, element jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE event_type
    WHEN 'RecordMatched' THEN jsonb_build_object('compared', element -> 10)
    WHEN 'MatchSuggested' THEN jsonb_build_object('compared', element -> 14)
    WHEN 'MatchConfirmed' THEN jsonb_build_object('compared', element -> 13)
    WHEN 'MatchReversed' THEN jsonb_build_object('compared', element -> 10)
    ELSE '{}'
    END
$$;

CREATE OR REPLACE VIEW events WITH (security_invoker = true) AS
SELECT
    md5(b.stream_id || ':' || (b.base_version + e.ordinal)::text)::uuid AS event_id,
    b.stream_id,
    b.base_version + e.ordinal AS stream_version,
    b.first_position + e.ordinal - 1 AS global_position,
    substr(b.stream_id, strpos(b.stream_id, '/') + 1) AS aggregate_id,
    CASE WHEN b.stream_id = b.tenant_id || '/' || b.reconciliation_id THEN 'reconciliation'
         ELSE split_part(b.stream_id, '/', 1) END AS aggregate_type,
    e.element ->> 0 AS event_type,
    CASE b.format WHEN 1 THEN 1 END AS event_version,
    expand_event(e.element ->> 0, e.element, b.tenant_id, b.reconciliation_id)
        || expand_compared(e.element ->> 0, e.element) AS data,
    jsonb_build_object('tenant_id', b.tenant_id, 'timestamp', b.created_at) || b.metadata AS metadata,
    b.created_at,
    b.tenant_id,
    b.reconciliation_id,
    b.correlation_id,
    b.last_position AS batch_position
FROM event_store AS b
CROSS JOIN LATERAL jsonb_array_elements(b.events::jsonb) WITH ORDINALITY AS e (element, ordinal);
