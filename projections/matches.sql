-- copy_confirmed --
COPY matches (match_id, tenant_id, reconciliation_id, stream_hash, position, stream_version, rule,
              match_type, status, source_ids, target_ids, currency, source_minor, target_minor,
              difference_minor, definition_version)
FROM STDIN;

-- copy_suggested --
COPY matches (match_id, tenant_id, reconciliation_id, stream_hash, position, stream_version, rule,
              match_type, status, source_ids, target_ids, currency, source_minor, target_minor,
              difference_minor, definition_version, updated_position, reason)
FROM STDIN;

-- delete_unconfirmed --
DELETE FROM matches WHERE match_id = ANY (%(match_ids)s::uuid[]) AND status <> 'confirmed';

-- supersede --
UPDATE matches SET status = 'superseded', updated_position = asked.position, reason = asked.reason
FROM unnest(%(match_ids)s::uuid[], %(positions)s::bigint[], %(reasons)s::text[])
    AS asked (match_id, position, reason)
WHERE matches.match_id = asked.match_id AND matches.status = 'suggested';
