-- matches --
SELECT tenant_id || '/' || reconciliation_id, rule, status, source_ids, target_ids
FROM matches
WHERE status IN ('confirmed', 'suggested');

-- exceptions --
SELECT tenant_id || '/' || reconciliation_id, side, transaction_id, category
FROM exceptions
WHERE status IN ('open', 'in_progress');

-- dead_letters --
SELECT coalesce(tenant_id || '/' || reconciliation_id, ''), side, code, transaction_id, raw
FROM dead_letter_queue
WHERE redriven_at IS NULL;

-- accepted --
-- From the log itself, not from a read model: counts is [[side, currency, count, sum], ...].
SELECT b.stream_id, (e.element ->> 3)::bigint AS redelivered, e.element -> 1 AS counts
FROM event_store AS b
CROSS JOIN LATERAL jsonb_array_elements(b.events::jsonb) AS e (element)
WHERE e.element ->> 0 = 'TransactionsAccepted';
