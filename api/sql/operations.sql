-- list_dead_letters --
SELECT dead_letter_id, topic, partition, "offset", reconciliation_id, transaction_id, side, code,
       message, received_at, redrive_requested_at, redriven_at, redrive_outcome
FROM dead_letter_queue
WHERE tenant_id = %(tenant_id)s
  AND (received_at, dead_letter_id) < (%(received_at)s, %(dead_letter_id)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
  AND (%(code)s::text IS NULL OR code = %(code)s)
  AND (%(side)s::smallint IS NULL OR side = %(side)s)
  AND (%(transaction_id)s::text IS NULL OR transaction_id = %(transaction_id)s)
  AND (%(redriven)s::boolean IS NULL OR (redriven_at IS NOT NULL) = %(redriven)s)
ORDER BY received_at DESC, dead_letter_id DESC
LIMIT %(limit)s;

-- read_dead_letter --
SELECT dead_letter_id, topic, partition, "offset", reconciliation_id, transaction_id, side, code,
       message, received_at, redrive_requested_at, redriven_at, redrive_outcome, raw
FROM dead_letter_queue
WHERE tenant_id = %(tenant_id)s AND dead_letter_id = %(dead_letter_id)s;

-- redrive_dead_letter --
-- One that is asked for already is not asked for twice.
UPDATE dead_letter_queue SET redrive_requested_at = clock_timestamp(), redriven_at = NULL
WHERE tenant_id = %(tenant_id)s AND dead_letter_id = %(dead_letter_id)s
  AND (redrive_requested_at IS NULL OR redriven_at IS NOT NULL);

-- redrive_dead_letters --
-- The oldest first, of those that are neither asked for nor taken in by now.
WITH chosen AS (
    SELECT dead_letter_id FROM dead_letter_queue
    WHERE tenant_id = %(tenant_id)s
      AND (redrive_requested_at IS NULL OR redriven_at IS NOT NULL)
      AND (redriven_at IS NULL OR redrive_outcome = 'refused')
      AND (%(dead_letter_ids)s::uuid[] IS NULL OR dead_letter_id = ANY (%(dead_letter_ids)s::uuid[]))
      AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
      AND (%(code)s::text IS NULL OR code = %(code)s)
      AND (%(side)s::smallint IS NULL OR side = %(side)s)
    ORDER BY received_at, dead_letter_id
    LIMIT %(limit)s + 1
), asked AS (
    UPDATE dead_letter_queue SET redrive_requested_at = clock_timestamp(), redriven_at = NULL
    WHERE tenant_id = %(tenant_id)s
      AND dead_letter_id IN (SELECT dead_letter_id FROM chosen LIMIT %(limit)s)
    RETURNING dead_letter_id
)
SELECT (SELECT count(*) FROM asked) AS requested, (SELECT count(*) FROM chosen) AS found;

-- list_usage --
SELECT usage_date, transactions, matches, exceptions, rejected, redelivered, events, journal_bytes
FROM tenant_usage_view
WHERE tenant_id = %(tenant_id)s
  AND usage_date < %(before)s
  AND (%(from_date)s::date IS NULL OR usage_date >= %(from_date)s)
  AND (%(to_date)s::date IS NULL OR usage_date <= %(to_date)s)
ORDER BY usage_date DESC
LIMIT %(limit)s;

-- list_hotspots --
SELECT reconciliation_id, day, category, rule, currency, exception_count, open_count,
       amount_minor, open_amount_minor, last_seen_at
FROM error_hotspots_view
WHERE tenant_id = %(tenant_id)s
  AND (day, reconciliation_id, category, rule, currency)
      < (%(day)s, %(last_reconciliation_id)s, %(last_category)s, %(last_rule)s, %(last_currency)s)
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
  AND (%(category)s::text IS NULL OR category = %(category)s)
  AND (%(rule)s::text IS NULL OR rule = %(rule)s)
  AND (%(currency)s::text IS NULL OR currency = %(currency)s)
  AND (%(from_date)s::date IS NULL OR day >= %(from_date)s)
  AND (%(to_date)s::date IS NULL OR day <= %(to_date)s)
ORDER BY day DESC, reconciliation_id DESC, category DESC, rule DESC, currency DESC
LIMIT %(limit)s;
