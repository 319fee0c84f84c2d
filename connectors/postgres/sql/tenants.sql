-- create_tenant --
INSERT INTO tenants (tenant_id, name) VALUES (%(tenant_id)s, %(name)s);

-- list_tenants --
SELECT tenant_id, name, created_at, suspended_at FROM tenants ORDER BY tenant_id;

-- read_tenant --
SELECT tenant_id, name, created_at, due_hours FROM tenants WHERE tenant_id = %(tenant_id)s;

-- change_tenant --
UPDATE tenants SET name = coalesce(%(name)s, name),
    due_hours = coalesce(%(due_hours)s, due_hours)
WHERE tenant_id = %(tenant_id)s
RETURNING tenant_id, name, created_at, due_hours;

-- suspend_tenant --
UPDATE tenants SET suspended_at = CASE WHEN %(suspended)s THEN
    coalesce(suspended_at, clock_timestamp()) END
WHERE tenant_id = %(tenant_id)s;

-- create_key --
INSERT INTO api_keys (key_id, tenant_id, key_hash, name, role, scopes, user_id, expires_at,
    rotated_from, requests_per_minute)
VALUES (%(key_id)s, %(tenant_id)s, %(key_hash)s, %(name)s, %(role)s, %(scopes)s, %(user_id)s,
    %(expires_at)s, NULL, %(requests_per_minute)s);

-- list_keys --
SELECT key_id, tenant_id, name, role, scopes, user_id, rotated_from, requests_per_minute,
       created_at, expires_at, revoked_at, last_used_at
FROM api_keys WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s
ORDER BY tenant_id, created_at, key_id;

-- list_keys_page --
SELECT key_id, name, role, scopes, user_id, rotated_from, requests_per_minute, created_at,
       expires_at, revoked_at, last_used_at
FROM api_keys
WHERE tenant_id = %(tenant_id)s
  AND (created_at, key_id) > (%(created_at)s, %(key_id)s)
  AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
ORDER BY created_at, key_id
LIMIT %(limit)s;

-- read_key --
SELECT key_id, name, role, scopes, user_id, rotated_from, requests_per_minute, created_at,
       expires_at, revoked_at, last_used_at
FROM api_keys
WHERE tenant_id = %(tenant_id)s AND key_id = %(key_id)s;

-- revoke_key --
UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp())
WHERE key_id = %(key_id)s
RETURNING tenant_id;

-- rotate_key --
-- What may be done with a key is copied in the database, so that it cannot change on the way.
INSERT INTO api_keys (key_id, tenant_id, key_hash, name, role, scopes, user_id, expires_at,
    rotated_from, requests_per_minute)
SELECT %(new_key_id)s, tenant_id, %(key_hash)s, name, role, scopes, user_id, expires_at, key_id,
       requests_per_minute
FROM api_keys
WHERE key_id = %(key_id)s
  AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
RETURNING tenant_id;

-- end_key_after --
UPDATE api_keys SET expires_at = least(expires_at, clock_timestamp() + %(overlap)s)
WHERE key_id = %(key_id)s;

-- name_key --
SELECT set_config('settler.key_id', %(key_id)s, true);

-- find_key --
SELECT key_hash, key_id, tenant_id, name, role, scopes, user_id, rotated_from,
       requests_per_minute, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE key_id = %(key_id)s AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > clock_timestamp());

-- name_tenant --
SELECT set_config('settler.tenant_id', %(tenant_id)s, true);

-- read_key_access --
-- A key opens nothing once its tenant is suspended or its owner disabled, and never more than its
-- owner may now.
SELECT tenants.suspended_at IS NULL
       AND (%(user_id)s::uuid IS NULL
            OR (users.user_id IS NOT NULL AND users.disabled_at IS NULL)) AS is_open,
       users.role AS user_role
FROM tenants LEFT JOIN users
    ON users.tenant_id = tenants.tenant_id AND users.user_id = %(user_id)s
WHERE tenants.tenant_id = %(tenant_id)s;

-- touch_key --
-- At most once a minute, or every request would write.
UPDATE api_keys SET last_used_at = clock_timestamp()
WHERE key_id = %(key_id)s
  AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute');
