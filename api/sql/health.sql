-- read_migrations --
SELECT name FROM schema_migrations;
