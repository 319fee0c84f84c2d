-- try_lock --
-- Held by the session, so it goes with the process that held it.
SELECT pg_try_advisory_lock(hashtextextended('settler projections', 0));

-- listen --
LISTEN settler_events;

-- commit_without_waiting --
-- Rows and checkpoint come back together or not at all after a crash of the server, and what is
-- missing is folded again from the log: nothing is lost by not waiting for the disk.
SET synchronous_commit = off;
