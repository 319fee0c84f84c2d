-- read_sizes --
SELECT relname::text, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
ORDER BY relname;
