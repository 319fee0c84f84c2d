-- add_usage --
INSERT INTO tenant_usage_view AS kept (
    tenant_id, usage_date, transactions, matches, exceptions, rejected, redelivered, events,
    journal_bytes)
VALUES (
    %(tenant_id)s, %(usage_date)s, %(transactions)s, %(matches)s, %(exceptions)s, %(rejected)s,
    %(redelivered)s, %(events)s, %(journal_bytes)s)
ON CONFLICT ON CONSTRAINT tenant_usage_view_pkey DO UPDATE SET
    transactions = kept.transactions + excluded.transactions,
    matches = kept.matches + excluded.matches,
    exceptions = kept.exceptions + excluded.exceptions,
    rejected = kept.rejected + excluded.rejected,
    redelivered = kept.redelivered + excluded.redelivered,
    events = kept.events + excluded.events,
    journal_bytes = kept.journal_bytes + excluded.journal_bytes;
