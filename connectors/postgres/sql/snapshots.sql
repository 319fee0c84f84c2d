-- save_snapshot --
-- Only of a version this process has committed itself and still holds: a state that ran ahead of
-- its commit, or a zombie's, must never become what others recover from.
INSERT INTO snapshots (stream_id, version, format, state)
SELECT stream_id, %(version)s, %(format)s, %(state)s FROM streams
WHERE stream_id = %(stream_id)s AND fence = %(fence)s AND version >= %(version)s
ON CONFLICT ON CONSTRAINT snapshots_pkey DO NOTHING;

-- drop_old_snapshots --
-- The one before the newest is kept, for the day the newest cannot be read, and so is the one that
-- stands in for journals that have expired: the past that is kept begins with it.
DELETE FROM snapshots
WHERE stream_id = %(stream_id)s
  AND version <> coalesce(
      (SELECT version FROM journal_expiries WHERE stream_id = %(stream_id)s), -1)
  AND version < (SELECT min(version) FROM (
      SELECT version FROM snapshots WHERE stream_id = %(stream_id)s
      ORDER BY version DESC LIMIT 2) AS kept);
