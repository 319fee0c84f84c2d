-- read_cases --
SELECT exception_id, reconciliation_id, side, transaction_id, status, resolution, assignee, version
FROM exceptions
WHERE tenant_id = %(tenant_id)s AND exception_id = ANY (%(exception_ids)s::uuid[]);

-- read_casework_after --
-- What people did with exceptions since versions of their streams, which the read model may not show.
SELECT event_store.stream_id, format, events
FROM unnest(%(stream_ids)s::text[], %(versions)s::bigint[]) AS asked (stream_id, version)
JOIN event_store ON event_store.stream_id = asked.stream_id
    AND event_store.base_version >= asked.version
WHERE event_store.tenant_id = %(tenant_id)s
ORDER BY event_store.stream_id, event_store.base_version;

-- read_casework --
SELECT last_position, first_position, stream_id, reconciliation_id, base_version, event_count, format,
       events, metadata, created_at
FROM event_store
WHERE tenant_id = %(tenant_id)s AND stream_id = %(stream_id)s
ORDER BY base_version;

-- record_done_commands --
-- Casework is decided where it is asked for, so its commands are done as they come in.
INSERT INTO inbox (command_id, tenant_id, reconciliation_id, command_type, payload, user_id,
                   correlation_id, trace, status, outcome, decided_at)
SELECT command_id, %(tenant_id)s, reconciliation_id, %(command_type)s, payload, %(user_id)s,
       correlation_id, %(trace)s, 'done', outcome, clock_timestamp()
FROM unnest(%(command_ids)s::uuid[], %(reconciliation_ids)s::text[], %(payloads)s::jsonb[],
            %(correlation_ids)s::text[], %(outcomes)s::jsonb[])
    AS asked (command_id, reconciliation_id, payload, correlation_id, outcome)
ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING
RETURNING command_id;

-- append_casework --
SELECT append_casework(%(stream_ids)s::text[], %(reconciliation_ids)s::text[],
                       %(base_versions)s::bigint[], %(format)s::integer, %(events)s::text[],
                       %(metadata)s::jsonb[]);

-- read_shown_casework --
SELECT reconciliation_id, count(*) AS shown, max(updated_position) AS position
FROM unnest(%(exception_ids)s::uuid[], %(versions)s::integer[]) AS asked (exception_id, version)
JOIN exceptions USING (exception_id)
WHERE exceptions.tenant_id = %(tenant_id)s AND exceptions.version >= asked.version
GROUP BY reconciliation_id;
