-- read_signing_keys --
SELECT kid, public_key, sealed_private_key, created_at, retires_at
FROM signing_keys
WHERE retires_at IS NULL OR retires_at > clock_timestamp()
ORDER BY created_at DESC, kid;

-- lock_signing_keys --
-- Held until commit, so that of several processes one makes the first key.
SELECT pg_advisory_xact_lock(hashtext('settler.signing_keys'));

-- add_signing_key --
INSERT INTO signing_keys (kid, public_key, sealed_private_key)
VALUES (%(kid)s, %(public_key)s, %(sealed_private_key)s);

-- retire_signing_keys --
UPDATE signing_keys SET retires_at = clock_timestamp() + %(overlap)s
WHERE retires_at IS NULL AND kid <> %(kid)s;

-- drop_signing_keys --
DELETE FROM signing_keys WHERE retires_at < clock_timestamp();
