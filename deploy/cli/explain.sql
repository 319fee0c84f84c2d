-- list_streams --
SELECT tenant_id, reconciliation_id
FROM streams
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
ORDER BY tenant_id, reconciliation_id;
