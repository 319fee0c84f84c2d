-- list_definitions --
SELECT DISTINCT ON (tenant_id, reconciliation_id)
       tenant_id, reconciliation_id, version, definition ->> 'name' AS name, defined_at
FROM definitions
WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s
ORDER BY tenant_id, reconciliation_id, version DESC;

-- get_definition --
SELECT definition FROM definitions
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND (%(version)s::integer IS NULL OR version = %(version)s)
ORDER BY version DESC LIMIT 1;
