-- read_books --
SELECT tenant_id, reconciliation_id, time_zone, closed_day - date '1970-01-01',
       latest_day - date '1970-01-01'
FROM period_calendars
JOIN unnest(%(tenant_ids)s::text[], %(reconciliation_ids)s::text[])
    AS asked (tenant_id, reconciliation_id) USING (tenant_id, reconciliation_id);

-- keep_books --
INSERT INTO period_calendars AS kept (tenant_id, reconciliation_id, time_zone, closed_day,
                                      latest_day)
VALUES (%(tenant_id)s, %(reconciliation_id)s, %(time_zone)s,
        date '1970-01-01' + %(closed_day)s::integer, date '1970-01-01' + %(latest_day)s::integer)
ON CONFLICT ON CONSTRAINT period_calendars_pkey DO UPDATE SET
    time_zone = excluded.time_zone, closed_day = excluded.closed_day,
    latest_day = excluded.latest_day;

-- add_postings --
-- One statement for a piece of the log: each row as a JSON object of its columns.
INSERT INTO control_totals AS kept (
    tenant_id, reconciliation_id, day, side, currency, accepted_count, accepted_minor,
    matched_count, matched_minor, suggested_count, suggested_minor, exception_count,
    exception_minor, duplicate_count, duplicate_minor, superseded_count, superseded_minor,
    rejected_count, redelivered_count)
SELECT tenant_id, reconciliation_id, date '1970-01-01' + day, side, currency, accepted_count,
       accepted_minor, matched_count, matched_minor, suggested_count, suggested_minor,
       exception_count, exception_minor, duplicate_count, duplicate_minor, superseded_count,
       superseded_minor, rejected_count, redelivered_count
FROM json_to_recordset(%(rows)s::json) AS posted (
    tenant_id text, reconciliation_id text, day integer, side text, currency text,
    accepted_count bigint, accepted_minor numeric, matched_count bigint, matched_minor
    numeric, suggested_count bigint, suggested_minor numeric, exception_count bigint,
    exception_minor numeric, duplicate_count bigint, duplicate_minor numeric, superseded_count
    bigint, superseded_minor numeric, rejected_count bigint, redelivered_count bigint)
ON CONFLICT ON CONSTRAINT control_totals_pkey DO UPDATE SET
    accepted_count = kept.accepted_count + excluded.accepted_count,
    accepted_minor = kept.accepted_minor + excluded.accepted_minor,
    matched_count = kept.matched_count + excluded.matched_count,
    matched_minor = kept.matched_minor + excluded.matched_minor,
    suggested_count = kept.suggested_count + excluded.suggested_count,
    suggested_minor = kept.suggested_minor + excluded.suggested_minor,
    exception_count = kept.exception_count + excluded.exception_count,
    exception_minor = kept.exception_minor + excluded.exception_minor,
    duplicate_count = kept.duplicate_count + excluded.duplicate_count,
    duplicate_minor = kept.duplicate_minor + excluded.duplicate_minor,
    superseded_count = kept.superseded_count + excluded.superseded_count,
    superseded_minor = kept.superseded_minor + excluded.superseded_minor,
    rejected_count = kept.rejected_count + excluded.rejected_count,
    redelivered_count = kept.redelivered_count + excluded.redelivered_count;

-- read_days --
-- What was posted to the days that close.
SELECT day - date '1970-01-01', side, currency, accepted_count, accepted_minor, matched_count,
       matched_minor, suggested_count, suggested_minor, exception_count, exception_minor,
       duplicate_count, duplicate_minor, superseded_count, superseded_minor, rejected_count,
       redelivered_count
FROM control_totals
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND day > date '1970-01-01' + coalesce(%(closed_day)s::integer, -719163)
  AND day <= date '1970-01-01' + %(closes)s::integer
ORDER BY day, side, currency;

-- last_statement --
SELECT day::text, statement, hash, previous_hash FROM period_statements
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
ORDER BY period_statements.day DESC LIMIT 1;

-- keep_statement --
INSERT INTO period_statements (tenant_id, reconciliation_id, day, position, closed_at, statement,
                               hash, previous_hash)
VALUES (%(tenant_id)s, %(reconciliation_id)s, %(day)s::date, %(position)s, %(closed_at)s,
        %(statement)s, %(hash)s, %(previous_hash)s);
