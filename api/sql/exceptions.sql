-- list_exceptions_newest --
SELECT exception_id, reconciliation_id, position, side, transaction_id, category, severity, status,
       resolution, amount_minor, currency, occurred_at, rule, reason, candidates, match_id,
       assignee, definition_version, opened_at, updated_at, updated_position, version, comments,
       resolution_reason, coalesce(first_position, position) AS first_position
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
ORDER BY position DESC
LIMIT %(limit)s;

-- list_exceptions_oldest --
SELECT exception_id, reconciliation_id, position, side, transaction_id, category, severity, status,
       resolution, amount_minor, currency, occurred_at, rule, reason, candidates, match_id,
       assignee, definition_version, opened_at, updated_at, updated_position, version, comments,
       resolution_reason, coalesce(first_position, position) AS first_position
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
ORDER BY position
LIMIT %(limit)s;

-- read_exception --
SELECT exception_id, reconciliation_id, position, side, transaction_id, category, severity, status,
       resolution, amount_minor, currency, occurred_at, rule, reason, candidates, match_id,
       assignee, definition_version, opened_at, updated_at, updated_position, version, comments,
       resolution_reason, coalesce(first_position, position) AS first_position
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
