-- add_definition --
INSERT INTO definitions (tenant_id, reconciliation_id, version, definition, defined_at, command_id,
                         position)
VALUES (%(tenant_id)s, %(reconciliation_id)s, %(version)s, %(definition)s::jsonb, %(defined_at)s,
        %(command_id)s, %(position)s)
ON CONFLICT ON CONSTRAINT definitions_pkey DO UPDATE SET
    definition = excluded.definition, defined_at = excluded.defined_at,
    command_id = excluded.command_id, position = excluded.position;
