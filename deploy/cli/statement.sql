-- list_statements --
SELECT day::text, statement, hash, previous_hash, position, closed_at FROM period_statements
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
ORDER BY period_statements.day;
