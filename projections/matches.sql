-- copy_confirmed --
COPY matches (match_id, tenant_id, reconciliation_id, stream_hash, position, rule,
              match_type, status, source_ids, target_ids, currency, source_minor, target_minor,
              difference_minor, definition_version)
FROM STDIN;

-- copy_asked --
COPY matches (match_id, tenant_id, reconciliation_id, stream_hash, position, rule,
              match_type, status, source_ids, target_ids, currency, source_minor, target_minor,
              difference_minor, definition_version, source_amounts, target_amounts,
              updated_position, reason, command_id)
FROM STDIN;

-- delete_unconfirmed --
DELETE FROM matches WHERE match_id = ANY (%(match_ids)s::uuid[]) AND status <> 'confirmed';

-- end --
UPDATE matches SET status = asked.status, updated_position = asked.position,
    reason = asked.reason, command_id = asked.command_id
FROM unnest(%(match_ids)s::uuid[], %(statuses)s::text[], %(positions)s::bigint[],
            %(reasons)s::text[], %(command_ids)s::text[])
    AS asked (match_id, status, position, reason, command_id)
WHERE matches.match_id = asked.match_id
  AND matches.status = CASE asked.status WHEN 'reversed' THEN 'confirmed' ELSE 'suggested' END;
