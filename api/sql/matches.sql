-- list_matches_newest --
-- The index runs by reconciliation, as the hash of its names, and position; a page over all of a
-- tenant's reconciliations takes the first rows of each and merges them, so its cost does not grow
-- with the table.
SELECT m.*, b.created_at AS matched_at
FROM (
    SELECT of_one.*
    FROM reconciliation_summary AS r
    CROSS JOIN LATERAL (
        SELECT match_id, reconciliation_id, position, rule, match_type, status, source_ids,
               target_ids, currency, source_minor, target_minor, difference_minor,
               definition_version, reason, source_amounts, target_amounts, command_id
        FROM matches
        WHERE stream_hash = r.stream_hash
          AND tenant_id = %(tenant_id)s
          AND reconciliation_id = r.reconciliation_id
          AND position < %(position)s
          AND (%(status)s::text IS NULL OR status = %(status)s)
          AND (%(rule)s::text IS NULL OR rule = %(rule)s)
          AND (%(currency)s::text IS NULL OR currency = %(currency)s)
          AND (%(match_type)s::text IS NULL OR match_type = %(match_type)s)
        ORDER BY position DESC
        LIMIT %(limit)s
    ) AS of_one
    WHERE r.tenant_id = %(tenant_id)s
      AND (%(reconciliation_id)s::text IS NULL OR r.reconciliation_id = %(reconciliation_id)s)
    ORDER BY of_one.position DESC
    LIMIT %(limit)s
) AS m
CROSS JOIN LATERAL (
    SELECT created_at FROM event_store WHERE last_position >= m.position
    ORDER BY last_position LIMIT 1
) AS b
ORDER BY m.position DESC;

-- list_matches_oldest --
SELECT m.*, b.created_at AS matched_at
FROM (
    SELECT of_one.*
    FROM reconciliation_summary AS r
    CROSS JOIN LATERAL (
        SELECT match_id, reconciliation_id, position, rule, match_type, status, source_ids,
               target_ids, currency, source_minor, target_minor, difference_minor,
               definition_version, reason, source_amounts, target_amounts, command_id
        FROM matches
        WHERE stream_hash = r.stream_hash
          AND tenant_id = %(tenant_id)s
          AND reconciliation_id = r.reconciliation_id
          AND position > %(position)s
          AND (%(status)s::text IS NULL OR status = %(status)s)
          AND (%(rule)s::text IS NULL OR rule = %(rule)s)
          AND (%(currency)s::text IS NULL OR currency = %(currency)s)
          AND (%(match_type)s::text IS NULL OR match_type = %(match_type)s)
        ORDER BY position
        LIMIT %(limit)s
    ) AS of_one
    WHERE r.tenant_id = %(tenant_id)s
      AND (%(reconciliation_id)s::text IS NULL OR r.reconciliation_id = %(reconciliation_id)s)
    ORDER BY of_one.position
    LIMIT %(limit)s
) AS m
CROSS JOIN LATERAL (
    SELECT created_at FROM event_store WHERE last_position >= m.position
    ORDER BY last_position LIMIT 1
) AS b
ORDER BY m.position;

-- list_suggestions --
-- Open suggestions are few beside matches and have an index of their own.
SELECT m.match_id, m.reconciliation_id, m.position, m.rule, m.match_type, m.status, m.source_ids,
       m.target_ids, m.currency, m.source_minor, m.target_minor, m.difference_minor,
       m.definition_version, m.reason, m.source_amounts, m.target_amounts, m.command_id,
       b.created_at AS matched_at
FROM matches AS m
CROSS JOIN LATERAL (
    SELECT created_at FROM event_store WHERE last_position >= m.position
    ORDER BY last_position LIMIT 1
) AS b
WHERE m.tenant_id = %(tenant_id)s
  AND m.status = 'suggested'
  AND m.position < %(position)s
  AND (%(reconciliation_id)s::text IS NULL OR m.reconciliation_id = %(reconciliation_id)s)
  AND (%(rule)s::text IS NULL OR m.rule = %(rule)s)
  AND (%(currency)s::text IS NULL OR m.currency = %(currency)s)
ORDER BY m.position DESC
LIMIT %(limit)s;

-- read_match --
SELECT m.match_id, m.reconciliation_id, m.position, m.rule, m.match_type, m.status, m.source_ids,
       m.target_ids, m.currency, m.source_minor, m.target_minor, m.difference_minor,
       m.definition_version, m.reason, m.source_amounts, m.target_amounts, m.command_id,
       b.created_at AS matched_at
FROM matches AS m
CROSS JOIN LATERAL (
    SELECT created_at FROM event_store WHERE last_position >= m.position
    ORDER BY last_position LIMIT 1
) AS b
WHERE m.tenant_id = %(tenant_id)s AND m.match_id = %(match_id)s;
