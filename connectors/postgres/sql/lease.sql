-- acquire --
-- The database's clock alone decides, so that clocks of machines may differ.
INSERT INTO leases (name, holder, acquired_at, expires_at)
VALUES (%(name)s, %(holder)s, clock_timestamp(),
        clock_timestamp() + %(seconds)s * interval '1 second')
ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET
    holder = excluded.holder,
    acquired_at = CASE WHEN leases.holder = excluded.holder THEN leases.acquired_at
                       ELSE excluded.acquired_at END,
    expires_at = excluded.expires_at
WHERE leases.holder = excluded.holder OR leases.expires_at <= clock_timestamp();

-- renew --
UPDATE leases SET expires_at = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE name = %(name)s AND holder = %(holder)s;

-- release --
DELETE FROM leases WHERE name = %(name)s AND holder = %(holder)s;

-- stand_by --
INSERT INTO lease_standbys (name, holder, waiting_since, seen_at)
VALUES (%(name)s, %(holder)s, clock_timestamp(), clock_timestamp())
ON CONFLICT ON CONSTRAINT lease_standbys_pkey DO UPDATE SET seen_at = excluded.seen_at;

-- stop_standing_by --
DELETE FROM lease_standbys
WHERE name = %(name)s
  AND (holder = %(holder)s OR seen_at < clock_timestamp() - interval '1 hour');

-- read_lease --
SELECT holder, acquired_at,
       extract(epoch FROM expires_at - clock_timestamp())::double precision
FROM leases WHERE name = %(name)s;

-- read_standbys --
SELECT holder FROM lease_standbys
WHERE name = %(name)s AND seen_at > clock_timestamp() - %(seen_within_seconds)s * interval '1 second'
ORDER BY waiting_since, holder;
