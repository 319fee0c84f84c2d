-- What was done under which Idempotency-Key, put in by the transaction that did it: the answer itself
-- is kept in Redis, and whatever becomes of that, nothing is done twice.

CREATE TABLE idempotency_keys (
    tenant_id text NOT NULL,
    actor text NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, actor, idempotency_key)
);
CREATE INDEX idempotency_keys_created_idx ON idempotency_keys (tenant_id, created_at);
COMMENT ON TABLE idempotency_keys IS 'kept for a day';
SELECT protect_tenant_table('idempotency_keys');

GRANT SELECT, INSERT, DELETE ON idempotency_keys TO settler_api;
GRANT UPDATE (fingerprint, created_at) ON idempotency_keys TO settler_api;
