-- list_runs --
SELECT run_id, reconciliation_id, name, from_at, to_at, status, definition_version, attempts,
       started_at, ended_at, error, reason, totals, position
FROM reconciliation_runs
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND position < %(position)s
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY position DESC
LIMIT %(limit)s;

-- read_run --
SELECT run_id, reconciliation_id, name, from_at, to_at, status, definition_version, attempts,
       started_at, ended_at, error, reason, totals, position
FROM reconciliation_runs
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND run_id = %(run_id)s::uuid::text;

-- find_run --
-- The command that started it says that there is one as soon as it is handed in.
SELECT 1 AS found FROM reconciliation_runs
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND run_id = %(run_id)s::uuid::text
UNION ALL
SELECT 1 FROM inbox
WHERE tenant_id = %(tenant_id)s AND command_id = %(run_id)s::uuid
  AND reconciliation_id = %(reconciliation_id)s AND command_type = 'start_reconciliation';
