-- add_reconciliation --
-- One reconciliation with its figures; what is counted need not be there.
INSERT INTO reconciliation_summary
    (tenant_id, reconciliation_id, name, definition_version, accepted_source, accepted_target,
     matches_confirmed, transactions_matched, exceptions_open, transactions_exception,
     watermark_at, first_event_at, last_event_at, position)
VALUES (%(tenant_id)s, %(reconciliation_id)s, 'Orders against charges', 1, 500000, 500000,
        498000, 996000, %(exceptions)s, %(exceptions)s,
        '2026-03-01Z', '2026-02-01Z', '2026-03-01Z', %(first_position)s + %(exceptions)s);

-- add_totals --
INSERT INTO reconciliation_totals
    (tenant_id, reconciliation_id, side, currency, accepted_count, accepted_minor, matched_count,
     matched_minor, exception_count, exception_minor)
SELECT %(tenant_id)s, %(reconciliation_id)s, side, currency, 250000, 312500000, 249000, 311250000,
       500, 625000
FROM unnest(ARRAY['source', 'target']) AS side, unnest(ARRAY['EUR', 'USD']) AS currency;

-- add_exceptions --
-- As the flow writes them: a near miss beside each.
INSERT INTO exceptions
    (exception_id, tenant_id, reconciliation_id, position, side, transaction_id, category,
     severity, status, amount_minor, currency, occurred_at, rule, reason, candidates,
     definition_version, opened_at, updated_at, updated_position)
SELECT md5(%(tenant_id)s || %(reconciliation_id)s || n)::uuid, %(tenant_id)s,
       %(reconciliation_id)s, %(first_position)s + n, (ARRAY['source', 'target'])[1 + n %% 2],
       'ORD-' || n, 'amount_mismatch', (ARRAY['low', 'medium', 'high', 'critical'])[1 + n %% 4],
       'open', 1000 + n, 'EUR', '2026-02-01Z'::timestamptz + n * interval '1 minute',
       'order-reference', 'no counterpart within the amount tolerance',
       jsonb_build_array(jsonb_build_object(
           'transaction_id', 'CH-' || n, 'side', (ARRAY['target', 'source'])[1 + n %% 2],
           'amount_minor', 1100 + n, 'currency', 'EUR', 'rule', 'order-reference',
           'failed', 'amount', 'detail', 'differs by 1.00, the limit is 0.50')),
       1, '2026-03-01Z', '2026-03-01Z', %(first_position)s + n
FROM generate_series(1, %(exceptions)s) AS n;

-- set_checkpoints --
-- Projections that have read the log to its end.
INSERT INTO projection_checkpoints (name, position)
SELECT name, %(position)s FROM unnest(%(names)s::text[]) AS name;

-- set_log_head --
UPDATE log_head SET position = %(position)s;
