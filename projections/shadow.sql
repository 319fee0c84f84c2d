-- describe_copy --
-- The statements that give an empty copy everything its model has and LIKE does not bring along:
-- storage parameters, the comment, keys and indexes under their own names, grants.
SELECT statement FROM (
    SELECT 1 AS step, format('ALTER TABLE %%s SET (%%s)', %(copy)s::text, array_to_string(reloptions, ', '))
               AS statement
    FROM pg_class WHERE oid = %(model)s::text::regclass AND reloptions IS NOT NULL
    UNION ALL
    SELECT 2, format('COMMENT ON TABLE %%s IS %%L', %(copy)s::text, obj_description(%(model)s::text::regclass))
    WHERE obj_description(%(model)s::text::regclass) IS NOT NULL
    UNION ALL
    SELECT 3, format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', %(copy)s::text, conname,
                     pg_get_constraintdef(oid))
    FROM pg_constraint WHERE conrelid = %(model)s::text::regclass AND contype IN ('p', 'u')
    UNION ALL
    SELECT 4, replace(pg_get_indexdef(indexrelid), format(' ON %%s ', %(model)s::text),
                      format(' ON %%s ', %(copy)s::text))
    FROM pg_index
    WHERE indrelid = %(model)s::text::regclass
      AND indexrelid NOT IN (SELECT conindid FROM pg_constraint
                             WHERE conrelid = %(model)s::text::regclass AND contype IN ('p', 'u'))
    UNION ALL
    SELECT 5, format('GRANT %%s ON TABLE %%s TO %%I', privilege_type, %(copy)s::text, grantee::regrole::name)
    FROM pg_class, aclexplode(relacl)
    WHERE oid = %(model)s::text::regclass AND grantee <> relowner
    UNION ALL
    SELECT 6, format('SELECT protect_tenant_table(%%L)', %(copy)s::text)
) AS statements
ORDER BY step, statement;

-- try_lock --
SELECT pg_try_advisory_lock(hashtextextended('settler projections rebuild', 0));

-- live_schema --
SELECT current_schema();

-- wait_briefly_for_readers --
-- Shorter than the server looks for circular waits (1 s), so that it is this switch that gives way
-- and comes again, never a reader that gets an error.
SET LOCAL lock_timeout = '500ms';
