-- list_exceptions_newest --
SELECT exception_id, reconciliation_id, position, side, transaction_id, category, severity, status,
       resolution, amount_minor, currency, occurred_at, rule, reason, candidates, match_id,
       assignee, definition_version, opened_at, updated_at, updated_position, version, comments,
       resolution_reason,
       exception_due_at(opened_at, severity, (SELECT due_hours FROM tenants
                                              WHERE tenant_id = %(tenant_id)s)) AS due_at,
       status IN ('open', 'in_progress') AND now() >= exception_due_at(
           opened_at, severity, (SELECT due_hours FROM tenants
                                 WHERE tenant_id = %(tenant_id)s)) AS overdue
FROM exceptions
WHERE tenant_id = %(tenant_id)s
  AND position < %(position)s
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(category)s::text IS NULL OR category = %(category)s)
  AND (%(severity)s::text IS NULL OR severity = %(severity)s)
  AND (%(side)s::text IS NULL OR side = %(side)s)
  AND (%(currency)s::text IS NULL OR currency = %(currency)s)
  AND (%(rule)s::text IS NULL OR rule = %(rule)s)
  AND (%(assignee)s::text IS NULL OR assignee = %(assignee)s)
  AND (%(assigned)s::boolean IS NULL OR (assignee IS NOT NULL) = %(assigned)s)
  AND (%(commented)s::boolean IS NULL OR (comments > 0) = %(commented)s)
  AND (%(from_time)s::timestamptz IS NULL OR opened_at >= %(from_time)s)
  AND (%(to_time)s::timestamptz IS NULL OR opened_at < %(to_time)s)
  AND (%(overdue)s::boolean IS NULL
       OR (status IN ('open', 'in_progress') AND now() >= exception_due_at(
               opened_at, severity, (SELECT due_hours FROM tenants
                                     WHERE tenant_id = %(tenant_id)s))) = %(overdue)s)
ORDER BY position DESC
LIMIT %(limit)s;

-- list_exceptions_oldest --
SELECT exception_id, reconciliation_id, position, side, transaction_id, category, severity, status,
       resolution, amount_minor, currency, occurred_at, rule, reason, candidates, match_id,
       assignee, definition_version, opened_at, updated_at, updated_position, version, comments,
       resolution_reason,
       exception_due_at(opened_at, severity, (SELECT due_hours FROM tenants
                                              WHERE tenant_id = %(tenant_id)s)) AS due_at,
       status IN ('open', 'in_progress') AND now() >= exception_due_at(
           opened_at, severity, (SELECT due_hours FROM tenants
                                 WHERE tenant_id = %(tenant_id)s)) AS overdue
FROM exceptions
WHERE tenant_id = %(tenant_id)s
  AND position > %(position)s
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(category)s::text IS NULL OR category = %(category)s)
  AND (%(severity)s::text IS NULL OR severity = %(severity)s)
  AND (%(side)s::text IS NULL OR side = %(side)s)
  AND (%(currency)s::text IS NULL OR currency = %(currency)s)
  AND (%(rule)s::text IS NULL OR rule = %(rule)s)
  AND (%(assignee)s::text IS NULL OR assignee = %(assignee)s)
  AND (%(assigned)s::boolean IS NULL OR (assignee IS NOT NULL) = %(assigned)s)
  AND (%(commented)s::boolean IS NULL OR (comments > 0) = %(commented)s)
  AND (%(from_time)s::timestamptz IS NULL OR opened_at >= %(from_time)s)
  AND (%(to_time)s::timestamptz IS NULL OR opened_at < %(to_time)s)
  AND (%(overdue)s::boolean IS NULL
       OR (status IN ('open', 'in_progress') AND now() >= exception_due_at(
               opened_at, severity, (SELECT due_hours FROM tenants
                                     WHERE tenant_id = %(tenant_id)s))) = %(overdue)s)
ORDER BY position
LIMIT %(limit)s;

-- read_exception --
SELECT exception_id, reconciliation_id, position, side, transaction_id, category, severity, status,
       resolution, amount_minor, currency, occurred_at, rule, reason, candidates, match_id,
       assignee, definition_version, opened_at, updated_at, updated_position, version, comments,
       resolution_reason,
       exception_due_at(opened_at, severity, (SELECT due_hours FROM tenants
                                              WHERE tenant_id = %(tenant_id)s)) AS due_at,
       status IN ('open', 'in_progress') AND now() >= exception_due_at(
           opened_at, severity, (SELECT due_hours FROM tenants
                                 WHERE tenant_id = %(tenant_id)s)) AS overdue,
       coalesce(first_position, position) AS first_position
FROM exceptions
WHERE tenant_id = %(tenant_id)s AND exception_id = %(exception_id)s;

-- read_story_batches --
-- The batches that tell of one transaction, between the event that opened its exception and the
-- last one that changed it, and the one that made its match. Batches are kept uncompressed, so
-- looking for the id in their text costs little more than reading them.
SELECT last_position, first_position, stream_id, reconciliation_id, base_version, event_count, format,
       events, metadata, created_at
FROM event_store
WHERE tenant_id = %(tenant_id)s
  AND stream_id = %(stream_id)s
  AND last_position >= %(from_position)s
  AND first_position <= %(to_position)s
  AND strpos(events, %(quoted_id)s) > 0
ORDER BY last_position
LIMIT %(limit)s;

-- count_ageing --
SELECT width_bucket(extract(epoch FROM now() - opened_at) / 86400, %(bounds_days)s::numeric[]) AS bucket,
       severity, currency, count(*) AS count, count(assignee) AS assigned,
       count(*) FILTER (WHERE now() >= exception_due_at(
           opened_at, severity, (SELECT due_hours FROM tenants
                                 WHERE tenant_id = %(tenant_id)s))) AS overdue,
       sum(abs(amount_minor)) AS amount_minor
FROM exceptions
WHERE tenant_id = %(tenant_id)s AND status IN ('open', 'in_progress')
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
  AND (%(currency)s::text IS NULL OR currency = %(currency)s)
  AND (%(assignee)s::text IS NULL OR assignee = %(assignee)s)
GROUP BY bucket, severity, currency;

-- read_clock --
SELECT now() AS now;
