-- add_run --
INSERT INTO reconciliation_runs (tenant_id, reconciliation_id, run_id, name, from_at, to_at, status,
                                 definition_version, attempts, started_at, position,
                                 updated_position)
VALUES (%(tenant_id)s, %(reconciliation_id)s, %(run_id)s, %(name)s, %(from_at)s, %(to_at)s, 'running',
        %(definition_version)s, 1, %(at)s, %(position)s, %(position)s);

-- retry_run --
UPDATE reconciliation_runs SET
    status = 'running', definition_version = %(definition_version)s, attempts = attempts + 1,
    started_at = %(at)s, ended_at = NULL, error = NULL, reason = %(reason)s, totals = NULL,
    updated_position = %(position)s
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND run_id = %(run_id)s;

-- end_run --
UPDATE reconciliation_runs SET
    status = %(status)s, ended_at = %(at)s, error = %(error)s, reason = %(reason)s,
    totals = %(totals)s::jsonb, updated_position = %(position)s
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND run_id = %(run_id)s;
