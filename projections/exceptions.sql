-- read_cases --
SELECT exception_id::text, tenant_id, reconciliation_id, position, side, transaction_id, category,
       severity, status, resolution, amount_minor, currency, occurred_at, rule, reason,
       candidates::text, match_id::text, assignee, definition_version, opened_at, updated_at,
       updated_position, first_position, version, comments, resolution_reason
FROM exceptions WHERE exception_id = ANY (%(exception_ids)s::uuid[]);

-- delete_cases --
DELETE FROM exceptions WHERE exception_id = ANY (%(exception_ids)s::uuid[]);

-- copy_cases --
COPY exceptions (exception_id, tenant_id, reconciliation_id, position, side, transaction_id,
                 category, severity, status, resolution, amount_minor, currency, occurred_at, rule,
                 reason, candidates, match_id, assignee, definition_version, opened_at, updated_at,
                 updated_position, first_position, version, comments, resolution_reason)
FROM STDIN;
