-- submit_command --
INSERT INTO inbox (command_id, tenant_id, reconciliation_id, command_type, payload, user_id,
                   correlation_id, trace)
VALUES (%(command_id)s, %(tenant_id)s, %(reconciliation_id)s, %(command_type)s, %(payload)s,
        %(user_id)s, %(correlation_id)s, %(trace)s)
ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING
RETURNING command_id, pg_notify('settler_inbox', '');

-- read_stream --
-- The stream itself, not a read model: it is there as soon as a definition is in force.
SELECT version FROM streams
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s AND version > 0
  AND stream_id = %(tenant_id)s || '/' || %(reconciliation_id)s;

-- read_command --
SELECT command_id, reconciliation_id, command_type, payload, correlation_id, submitted_at, status,
       outcome, decided_at
FROM inbox
WHERE tenant_id = %(tenant_id)s AND command_id = %(command_id)s;

-- read_written --
SELECT last_position AS position FROM event_store
WHERE stream_id = %(stream_id)s AND tenant_id = %(tenant_id)s
ORDER BY base_version DESC LIMIT 1;

-- read_readable --
-- Up to where every read model has come. Checkpoints belong to no tenant.
SELECT coalesce(min(position), 0) AS position
FROM projection_checkpoints WHERE name = ANY (%(names)s::text[]);
