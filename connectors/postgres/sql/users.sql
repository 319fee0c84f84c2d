-- create_user --
INSERT INTO users (user_id, tenant_id, email, name, role, password_hash)
VALUES (%(user_id)s, %(tenant_id)s, %(email)s, %(name)s, %(role)s, %(password_hash)s)
RETURNING user_id, tenant_id, email, name, role, email_verified_at, locked_until, disabled_at,
    created_at;

-- list_users --
SELECT user_id, tenant_id, email, name, role, email_verified_at, locked_until, disabled_at,
       created_at
FROM users WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s
ORDER BY tenant_id, email;

-- list_users_page --
SELECT user_id, email, name, role, email_verified_at, locked_until, disabled_at, created_at
FROM users
WHERE tenant_id = %(tenant_id)s AND email > %(email)s
ORDER BY email
LIMIT %(limit)s;

-- read_user --
SELECT user_id, email, name, role, email_verified_at, locked_until, disabled_at, created_at
FROM users WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s;

-- read_user_by_email --
SELECT user_id, email, name, role, email_verified_at, locked_until, disabled_at, created_at
FROM users WHERE tenant_id = %(tenant_id)s AND email = %(email)s;

-- lock_owners --
-- Held until commit: two owners cannot demote each other at the same moment.
SELECT user_id FROM users
WHERE tenant_id = %(tenant_id)s AND role = 'owner' AND disabled_at IS NULL
ORDER BY user_id
FOR UPDATE;

-- update_user --
UPDATE users SET
    name = coalesce(%(name)s, name),
    role = coalesce(%(role)s, role),
    disabled_at = CASE %(disabled)s::boolean
        WHEN true THEN coalesce(disabled_at, clock_timestamp())
        WHEN false THEN NULL
        ELSE disabled_at END,
    updated_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
RETURNING user_id, email, name, role, email_verified_at, locked_until, disabled_at, created_at;

-- set_password --
UPDATE users SET password_hash = %(password_hash)s, failed_attempts = 0, locked_until = NULL,
    updated_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND disabled_at IS NULL;

-- verify_email --
UPDATE users SET email_verified_at = coalesce(email_verified_at, clock_timestamp())
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND disabled_at IS NULL;

-- unlock_user --
UPDATE users SET failed_attempts = 0, locked_until = NULL
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s;

-- count_attempt --
-- Counted before the password is looked at, so that many guesses at once are no more than many in
-- a row. A lock that has run out starts the count anew. No row: unknown, disabled or locked.
UPDATE users SET
    failed_attempts = CASE WHEN locked_until IS NULL THEN failed_attempts + 1 ELSE 1 END,
    locked_until = CASE WHEN locked_until IS NULL AND failed_attempts + 1 >= %(attempts_max)s
        THEN clock_timestamp() + %(lock)s END
WHERE tenant_id = %(tenant_id)s AND email = %(email)s AND disabled_at IS NULL
  AND (locked_until IS NULL OR locked_until <= clock_timestamp())
RETURNING user_id, email, password_hash, role, locked_until IS NOT NULL AS is_locked;

-- create_session --
INSERT INTO user_sessions (session_id, tenant_id, user_id, scopes, address, user_agent, expires_at)
VALUES (%(session_id)s, %(tenant_id)s, %(user_id)s, %(scopes)s, %(address)s, %(user_agent)s,
    clock_timestamp() + %(lifetime)s)
RETURNING expires_at;

-- touch_session --
UPDATE user_sessions SET last_used_at = clock_timestamp(), address = %(address)s,
    user_agent = %(user_agent)s
WHERE tenant_id = %(tenant_id)s AND session_id = %(session_id)s;

-- read_session_access --
SELECT sessions.revoked_at IS NULL AND sessions.expires_at > clock_timestamp()
       AND users.disabled_at IS NULL AND tenants.suspended_at IS NULL AS is_open,
       sessions.scopes, sessions.expires_at, users.role, users.email, users.name
FROM user_sessions AS sessions
JOIN users ON users.tenant_id = sessions.tenant_id AND users.user_id = sessions.user_id
JOIN tenants ON tenants.tenant_id = sessions.tenant_id
WHERE sessions.tenant_id = %(tenant_id)s AND sessions.session_id = %(session_id)s
  AND sessions.user_id = %(user_id)s;

-- list_sessions --
SELECT session_id, address, user_agent, scopes, created_at, last_used_at, expires_at
FROM user_sessions
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND revoked_at IS NULL
  AND expires_at > clock_timestamp()
ORDER BY created_at DESC, session_id
LIMIT 200;

-- revoke_sessions --
-- One session, or all of a user's, or all but one.
UPDATE user_sessions SET revoked_at = clock_timestamp(), revoked_because = %(because)s
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND revoked_at IS NULL
  AND (%(session_id)s::uuid IS NULL OR session_id = %(session_id)s)
  AND (%(except_id)s::uuid IS NULL OR session_id <> %(except_id)s)
RETURNING session_id;

-- create_token --
INSERT INTO user_tokens (token_id, tenant_id, user_id, session_id, purpose, token_hash, expires_at)
VALUES (%(token_id)s, %(tenant_id)s, %(user_id)s, %(session_id)s, %(purpose)s, %(token_hash)s,
    clock_timestamp() + %(lifetime)s);

-- name_token --
SELECT set_config('settler.token_id', %(token_id)s, true);

-- find_token --
SELECT tenant_id, user_id, session_id, purpose, token_hash
FROM user_tokens WHERE token_id = %(token_id)s;

-- use_token --
-- The row's lock makes the second of two at the same moment find it used.
UPDATE user_tokens SET used_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND token_id = %(token_id)s AND used_at IS NULL
  AND expires_at > clock_timestamp()
RETURNING token_id;

-- void_tokens --
UPDATE user_tokens SET used_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND purpose = %(purpose)s
  AND used_at IS NULL;

-- made_lately --
SELECT EXISTS (SELECT FROM user_tokens
    WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND purpose = %(purpose)s
      AND created_at > clock_timestamp() - interval '1 minute') AS made;

-- forget_tokens --
-- What ran out a month ago tells nothing any more, not even of its second use.
DELETE FROM user_tokens
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
  AND expires_at < clock_timestamp() - interval '30 days';
