-- read_roles --
SELECT rolname, rolbypassrls OR rolsuper AS bypasses FROM pg_roles
WHERE rolname = ANY (%(roles)s::text[]);

-- read_login --
SELECT current_user AS login, rolsuper, current_schema(), current_database() FROM pg_roles WHERE rolname = current_user;

-- is_member --
SELECT pg_has_role(current_user, %(role)s, 'MEMBER');

-- may_create --
SELECT has_schema_privilege('settler_owner', current_schema(), 'CREATE')
   AND has_database_privilege('settler_owner', current_database(), 'CREATE');

-- take_lock --
SELECT pg_advisory_lock(hashtext('settler migrate'));

-- try_lock --
SELECT pg_try_advisory_lock(hashtext('settler migrate'));

-- release_lock --
SELECT pg_advisory_unlock(hashtext('settler migrate'));

-- create_table --
CREATE TABLE IF NOT EXISTS schema_migrations (
    name text CONSTRAINT schema_migrations_pkey PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- read_applied --
SELECT name, checksum FROM schema_migrations ORDER BY name;

-- record --
INSERT INTO schema_migrations (name, checksum) VALUES (%(name)s, %(checksum)s);
