-- list_matches_newest --
-- The index runs by reconciliation and position; a page over all of a tenant's reconciliations
-- takes the first rows of each and merges them, so its cost does not grow with the table.
SELECT m.*
FROM reconciliation_summary AS r
CROSS JOIN LATERAL (
    SELECT match_id, reconciliation_id, position, rule, match_type, status, source_ids, target_ids,
           currency, source_minor, target_minor, difference_minor, definition_version, matched_at,
           reason, source_amounts, target_amounts, command_id
    FROM matches
    WHERE tenant_id = %(tenant_id)s
      AND reconciliation_id = r.reconciliation_id
      AND position < %(position)s
      AND (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(rule)s::text IS NULL OR rule = %(rule)s)
      AND (%(currency)s::text IS NULL OR currency = %(currency)s)
      AND (%(match_type)s::text IS NULL OR match_type = %(match_type)s)
    ORDER BY position DESC
    LIMIT %(limit)s
) AS m
WHERE r.tenant_id = %(tenant_id)s
  AND (%(reconciliation_id)s::text IS NULL OR r.reconciliation_id = %(reconciliation_id)s)
ORDER BY m.position DESC
LIMIT %(limit)s;

-- list_matches_oldest --
SELECT m.*
FROM reconciliation_summary AS r
CROSS JOIN LATERAL (
    SELECT match_id, reconciliation_id, position, rule, match_type, status, source_ids, target_ids,
           currency, source_minor, target_minor, difference_minor, definition_version, matched_at,
           reason, source_amounts, target_amounts, command_id
    FROM matches
    WHERE tenant_id = %(tenant_id)s
      AND reconciliation_id = r.reconciliation_id
      AND position > %(position)s
      AND (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(rule)s::text IS NULL OR rule = %(rule)s)
      AND (%(currency)s::text IS NULL OR currency = %(currency)s)
      AND (%(match_type)s::text IS NULL OR match_type = %(match_type)s)
    ORDER BY position
    LIMIT %(limit)s
) AS m
WHERE r.tenant_id = %(tenant_id)s
  AND (%(reconciliation_id)s::text IS NULL OR r.reconciliation_id = %(reconciliation_id)s)
ORDER BY m.position
LIMIT %(limit)s;

-- list_suggestions --
-- Open suggestions are few beside matches and have an index of their own.
SELECT match_id, reconciliation_id, position, rule, match_type, status, source_ids, target_ids,
       currency, source_minor, target_minor, difference_minor, definition_version, matched_at,
       reason, source_amounts, target_amounts, command_id
FROM matches
WHERE tenant_id = %(tenant_id)s
  AND status = 'suggested'
  AND position < %(position)s
  AND (%(reconciliation_id)s::text IS NULL OR reconciliation_id = %(reconciliation_id)s)
  AND (%(rule)s::text IS NULL OR rule = %(rule)s)
  AND (%(currency)s::text IS NULL OR currency = %(currency)s)
ORDER BY position DESC
LIMIT %(limit)s;

-- read_match --
SELECT match_id, reconciliation_id, position, rule, match_type, status, source_ids, target_ids,
       currency, source_minor, target_minor, difference_minor, definition_version, matched_at,
       reason, source_amounts, target_amounts, command_id
FROM matches
WHERE tenant_id = %(tenant_id)s AND match_id = %(match_id)s;
