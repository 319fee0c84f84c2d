-- claim_idempotency_key --
-- Told by the transaction that did the work, if it changed anything. No row: somebody did it before.
WITH forgotten AS (
    DELETE FROM idempotency_keys WHERE (tenant_id, actor, idempotency_key) IN (
        SELECT tenant_id, actor, idempotency_key FROM idempotency_keys
        WHERE tenant_id = %(tenant_id)s AND created_at < clock_timestamp() - interval '24 hours'
          AND (actor, idempotency_key) <> (%(actor)s, %(idempotency_key)s)
        ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED)
), claimed AS (
    INSERT INTO idempotency_keys (tenant_id, actor, idempotency_key, fingerprint)
    SELECT %(tenant_id)s, %(actor)s, %(idempotency_key)s, %(fingerprint)s
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL
    ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE
        SET fingerprint = excluded.fingerprint, created_at = excluded.created_at
        WHERE idempotency_keys.created_at < clock_timestamp() - interval '24 hours'
    RETURNING true
)
SELECT pg_current_xact_id_if_assigned() IS NULL AS is_untouched,
       EXISTS (SELECT FROM claimed) AS is_claimed;

-- read_idempotency_key --
SELECT fingerprint, created_at FROM idempotency_keys
WHERE tenant_id = %(tenant_id)s AND actor = %(actor)s AND idempotency_key = %(idempotency_key)s;
