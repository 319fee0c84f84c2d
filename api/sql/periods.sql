-- list_periods --
-- Days something was posted to or that have a statement, newest first.
SELECT day, statement.position, statement.closed_at, statement.hash, statement.previous_hash
FROM (SELECT DISTINCT day FROM control_totals
      WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
        AND day < %(before)s
      UNION
      SELECT day FROM period_statements
      WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
        AND day < %(before)s
      ORDER BY day DESC LIMIT %(limit)s) AS days
LEFT JOIN (SELECT day, position, closed_at, hash, previous_hash FROM period_statements
           WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s)
    AS statement USING (day)
ORDER BY day DESC;

-- read_period_totals --
SELECT day, side, currency, accepted_count, accepted_minor, matched_count, matched_minor,
       suggested_count, suggested_minor, exception_count, exception_minor, duplicate_count,
       duplicate_minor, superseded_count, superseded_minor, rejected_count, redelivered_count
FROM control_totals
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND day = ANY (%(days)s::date[])
ORDER BY day DESC, side, currency;

-- read_statement --
SELECT day::text AS day, statement AS text, hash, previous_hash FROM period_statements
WHERE tenant_id = %(tenant_id)s AND reconciliation_id = %(reconciliation_id)s
  AND period_statements.day = %(day)s;
