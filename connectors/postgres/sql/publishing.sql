-- count_batches --
-- Positions are gapless, so a bound on positions is a bound on events. A small number goes out as
-- smallint, and so would the sum.
SELECT count(*) FROM event_store
WHERE last_position > %(after_position)s::bigint
  AND last_position <= %(after_position)s::bigint + %(events_max)s;
