-- try_lock --
-- Held by the session, so it goes with the process that held it.
SELECT pg_try_advisory_lock(hashtextextended('settler projections', 0));

-- listen --
LISTEN settler_events;

-- commit_without_waiting --
-- Rows and checkpoint come back together or not at all after a crash of the server, and what is
-- missing is folded again from the log: nothing is lost by not waiting for the disk.
SET synchronous_commit = off;

-- count_differences --
-- Sides and currencies whose days do not add up to where everything stands.
SELECT count(*) FROM (
    SELECT tenant_id, reconciliation_id, side, currency, sum(accepted_count) AS accepted_count,
           sum(accepted_minor) AS accepted_minor, sum(matched_count) AS matched_count,
           sum(matched_minor) AS matched_minor, sum(suggested_count) AS suggested_count,
           sum(suggested_minor) AS suggested_minor, sum(exception_count) AS exception_count,
           sum(exception_minor) AS exception_minor, sum(duplicate_count) AS duplicate_count,
           sum(duplicate_minor) AS duplicate_minor, sum(superseded_count) AS superseded_count,
           sum(superseded_minor) AS superseded_minor
    FROM control_totals WHERE currency <> 'XXX'
    GROUP BY tenant_id, reconciliation_id, side, currency) AS posted
FULL JOIN reconciliation_totals AS standing USING (tenant_id, reconciliation_id, side, currency)
WHERE (posted.accepted_count, posted.accepted_minor, posted.matched_count, posted.matched_minor,
       posted.suggested_count, posted.suggested_minor, posted.exception_count,
       posted.exception_minor, posted.duplicate_count, posted.duplicate_minor,
       posted.superseded_count, posted.superseded_minor)
    IS DISTINCT FROM
      (standing.accepted_count::numeric, standing.accepted_minor, standing.matched_count::numeric,
       standing.matched_minor, standing.suggested_count::numeric, standing.suggested_minor,
       standing.exception_count::numeric, standing.exception_minor,
       standing.duplicate_count::numeric, standing.duplicate_minor,
       standing.superseded_count::numeric, standing.superseded_minor);
