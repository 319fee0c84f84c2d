-- read_log --
-- Positions are gapless, so a range of them bounds the events; a batch larger than the range comes
-- alone.  The lengths are known without reading the texts, which are stored out of line.
SELECT last_position, first_position, tenant_id, reconciliation_id, base_version, format, events,
       journal_bytes, created_at, hashtextextended(reconciliation_id, hashtextextended(tenant_id, 0))
FROM (
    SELECT last_position, first_position, tenant_id, reconciliation_id, base_version, format,
           events, coalesce(octet_length(journal), 0) AS journal_bytes, created_at,
           sum(octet_length(events)) OVER (ORDER BY last_position) - octet_length(events)
               AS bytes_before
    FROM event_store
    WHERE last_position > %(after)s::bigint
      AND last_position <= %(until)s::bigint
      AND last_position <= greatest(
          %(after)s::bigint + %(events_max)s::bigint,
          (SELECT min(last_position) FROM event_store WHERE last_position > %(after)s::bigint))
) AS ahead
WHERE bytes_before < %(bytes_max)s::bigint
ORDER BY last_position;
