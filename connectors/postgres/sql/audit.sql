-- record_audit --
INSERT INTO audit_log (tenant_id, actor, action, target, details, address, trace_id)
VALUES (%(tenant_id)s, %(actor)s, %(action)s, %(target)s, %(details)s, %(address)s, %(trace_id)s);

-- record_audit_if_written --
-- Only a transaction that has changed something has an id by now.
INSERT INTO audit_log (tenant_id, actor, action, target, details, address, trace_id)
SELECT %(tenant_id)s, %(actor)s, %(action)s, %(target)s, %(details)s, %(address)s, %(trace_id)s
WHERE pg_current_xact_id_if_assigned() IS NOT NULL;

-- list_audit --
SELECT audit_id, at, actor, action, target, details, address, trace_id
FROM audit_log
WHERE tenant_id = %(tenant_id)s AND audit_id < %(audit_id)s
  AND (%(actor)s::text IS NULL OR actor = %(actor)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(from_time)s::timestamptz IS NULL OR at >= %(from_time)s)
  AND (%(to_time)s::timestamptz IS NULL OR at < %(to_time)s)
ORDER BY audit_id DESC
LIMIT %(limit)s;
