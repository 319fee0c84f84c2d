-- create_tenant --
INSERT INTO tenants (tenant_id, name) VALUES (%(tenant_id)s, %(name)s);

-- list_tenants --
SELECT tenant_id, name, created_at, suspended_at FROM tenants ORDER BY tenant_id;

-- suspend_tenant --
UPDATE tenants SET suspended_at = CASE WHEN %(suspended)s THEN
    coalesce(suspended_at, clock_timestamp()) END
WHERE tenant_id = %(tenant_id)s;

-- create_key --
INSERT INTO api_keys (key_id, tenant_id, key_hash, name, scopes, expires_at)
VALUES (%(key_id)s, %(tenant_id)s, %(key_hash)s, %(name)s, %(scopes)s, %(expires_at)s);

-- list_keys --
SELECT key_id, tenant_id, name, scopes, created_at, expires_at, revoked_at, last_used_at
FROM api_keys WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s
ORDER BY tenant_id, created_at, key_id;

-- revoke_key --
UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp())
WHERE key_id = %(key_id)s;

-- name_key --
SELECT set_config('settler.key_id', %(key_id)s, true);

-- find_key --
SELECT key_hash, key_id, tenant_id, name, scopes, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE key_id = %(key_id)s AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > clock_timestamp());

-- name_tenant --
SELECT set_config('settler.tenant_id', %(tenant_id)s, true);

-- tenant_is_active --
SELECT suspended_at IS NULL FROM tenants WHERE tenant_id = %(tenant_id)s;

-- touch_key --
-- At most once a minute, or every request would write.
UPDATE api_keys SET last_used_at = clock_timestamp()
WHERE key_id = %(key_id)s
  AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute');
