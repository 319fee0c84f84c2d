-- add_hotspot --
INSERT INTO error_hotspots_view AS kept (
    tenant_id, reconciliation_id, day, category, rule, currency, exception_count, open_count,
    amount_minor, open_amount_minor, last_seen_at)
VALUES (
    %(tenant_id)s, %(reconciliation_id)s, %(day)s, %(category)s, %(rule)s, %(currency)s,
    %(exception_count)s, %(open_count)s, %(amount_minor)s, %(open_amount_minor)s,
    %(last_seen_at)s)
ON CONFLICT ON CONSTRAINT error_hotspots_view_pkey DO UPDATE SET
    exception_count = kept.exception_count + excluded.exception_count,
    open_count = kept.open_count + excluded.open_count,
    amount_minor = kept.amount_minor + excluded.amount_minor,
    open_amount_minor = kept.open_amount_minor + excluded.open_amount_minor,
    last_seen_at = greatest(kept.last_seen_at, excluded.last_seen_at);
