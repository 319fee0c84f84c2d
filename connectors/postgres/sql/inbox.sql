-- submit --
INSERT INTO inbox (command_id, tenant_id, reconciliation_id, command_type, payload, user_id,
                   correlation_id, trace)
VALUES (%(command_id)s, %(tenant_id)s, %(reconciliation_id)s, %(command_type)s, %(payload)s,
        %(user_id)s, %(correlation_id)s, %(trace)s)
ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING
RETURNING pg_notify('settler_inbox', '');

-- read_pending --
SELECT command_id::text, tenant_id, reconciliation_id, command_type, payload, user_id,
       correlation_id, trace, submitted_at
FROM inbox
WHERE status = 'pending' AND command_id <> ALL (%(exclude)s::uuid[])
ORDER BY submitted_at, inbox.command_id LIMIT %(limit)s;

-- read_state --
SELECT status, outcome, decided_at FROM inbox WHERE command_id = %(command_id)s::uuid;
