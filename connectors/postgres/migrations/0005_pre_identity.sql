-- Who may do what: roles of keys, people with passwords, their sessions, the keys that sign their
-- tokens, and the log of who did what.

CREATE TABLE users (
    user_id uuid CONSTRAINT users_pkey PRIMARY KEY,
    tenant_id text NOT NULL CONSTRAINT users_tenant_fkey REFERENCES tenants (tenant_id),
    email text NOT NULL CONSTRAINT users_email_form CHECK (email = lower(email)),
    name text NOT NULL,
    role text NOT NULL
        CONSTRAINT users_role CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    password_hash text,
    email_verified_at timestamptz,
    failed_attempts integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- One address may belong to several tenants, which do not learn of each other.
    CONSTRAINT users_email_key UNIQUE (tenant_id, email),
    -- For foreign keys, which do not obey row-level security: they name the tenant too.
    CONSTRAINT users_tenant_key UNIQUE (tenant_id, user_id)
);
COMMENT ON COLUMN users.password_hash IS 'Argon2id with its parameters (RFC 9106); null: none set yet';
SELECT protect_tenant_table('users');

CREATE TABLE user_sessions (
    session_id uuid CONSTRAINT user_sessions_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    scopes text[] NOT NULL,
    address text,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_because text,
    CONSTRAINT user_sessions_tenant_key UNIQUE (tenant_id, session_id),
    CONSTRAINT user_sessions_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id)
);
CREATE INDEX user_sessions_user_idx ON user_sessions (user_id, created_at);
COMMENT ON TABLE user_sessions IS 'one per sign-in; its refresh tokens are one family and end with it';
SELECT protect_tenant_table('user_sessions');

-- Tokens that work once. A used one stays, so that its second use is seen.
CREATE TABLE user_tokens (
    token_id text CONSTRAINT user_tokens_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid,
    purpose text NOT NULL
        CONSTRAINT user_tokens_purpose CHECK (purpose IN ('refresh', 'password', 'email')),
    token_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT user_tokens_family CHECK ((purpose = 'refresh') = (session_id IS NOT NULL)),
    CONSTRAINT user_tokens_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id),
    CONSTRAINT user_tokens_session_fkey FOREIGN KEY (tenant_id, session_id)
        REFERENCES user_sessions (tenant_id, session_id)
);
CREATE INDEX user_tokens_user_idx ON user_tokens (user_id, purpose);
CREATE INDEX user_tokens_expires_idx ON user_tokens (expires_at);
SELECT protect_tenant_table('user_tokens');
-- As with key_lookup: a token names its own row, and no other is seen before the tenant is known.
CREATE POLICY token_lookup ON user_tokens FOR SELECT
    USING (token_id = current_setting('settler.token_id', true));

-- Of no tenant: whoever may sign for one may sign for all.
CREATE TABLE signing_keys (
    kid text CONSTRAINT signing_keys_pkey PRIMARY KEY,
    public_key bytea NOT NULL,
    sealed_private_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retires_at timestamptz
);
COMMENT ON COLUMN signing_keys.sealed_private_key IS 'AES-256-GCM under a key derived from the pepper';
COMMENT ON COLUMN signing_keys.retires_at IS 'null: signs; else only verifies, until then';

-- API keys get a role, which their scopes narrow, and what rotation and limits need.
ALTER TABLE api_keys
    ADD COLUMN role text NOT NULL DEFAULT 'developer'
        CONSTRAINT api_keys_role CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    ADD COLUMN user_id uuid,
    ADD COLUMN rotated_from text,
    ADD COLUMN requests_per_minute integer
        CONSTRAINT api_keys_rate CHECK (requests_per_minute > 0),
    ADD CONSTRAINT api_keys_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id);
COMMENT ON COLUMN api_keys.user_id IS 'whose key it is; null: made by an operator, the tenant''s';
COMMENT ON COLUMN api_keys.scopes IS 'narrow the role; empty: all that the role may';
COMMENT ON COLUMN api_keys.requests_per_minute IS 'null: the limit that every key has';

-- The audit log: appended to, never changed.
CREATE TABLE audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_log_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    target text,
    details jsonb NOT NULL DEFAULT '{}',
    address text,
    trace_id text
);
CREATE INDEX audit_log_tenant_idx ON audit_log (tenant_id, audit_id);
COMMENT ON COLUMN audit_log.actor IS 'user:ID, key:ID or operator:NAME';
SELECT protect_tenant_table('audit_log');

GRANT SELECT ON users, user_sessions, user_tokens, signing_keys, audit_log TO settler_api;
GRANT INSERT ON users, user_sessions, user_tokens, signing_keys, api_keys, audit_log TO settler_api;
GRANT UPDATE (name, role, password_hash, email_verified_at, failed_attempts, locked_until,
    disabled_at, updated_at) ON users TO settler_api;
GRANT UPDATE (last_used_at, address, user_agent, revoked_at, revoked_because)
    ON user_sessions TO settler_api;
GRANT UPDATE (used_at) ON user_tokens TO settler_api;
GRANT DELETE ON user_tokens TO settler_api;
GRANT UPDATE (name, expires_at, revoked_at) ON api_keys TO settler_api;
GRANT UPDATE (name) ON tenants TO settler_api;

GRANT INSERT ON users, audit_log TO settler_operator;
GRANT INSERT, UPDATE (retires_at), DELETE ON signing_keys TO settler_operator;
GRANT UPDATE (name, role, password_hash, failed_attempts, locked_until, disabled_at, updated_at)
    ON users TO settler_operator;
GRANT UPDATE (revoked_at, revoked_because) ON user_sessions TO settler_operator;
GRANT UPDATE (expires_at) ON api_keys TO settler_operator;
