-- count_batches --
-- Positions are gapless, so a bound on positions is a bound on events.
SELECT count(*) FROM event_store
WHERE last_position > %(after_position)s
  AND last_position <= %(after_position)s + %(events_max)s;
