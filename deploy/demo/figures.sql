-- figures --
SELECT
    (SELECT coalesce(sum(next_offset), 0) FROM source_checkpoints),
    (SELECT position FROM log_head) - (
        SELECT coalesce(min(position), 0)
        FROM projection_checkpoints
        WHERE name = ANY(%(read_models)s)
    ),
    coalesce(sum(accepted_source + accepted_target), 0),
    coalesce(sum(pending), 0),
    coalesce(sum(transactions_matched), 0),
    coalesce(sum(exceptions_open), 0),
    (SELECT count(*) FROM dead_letter_queue)
FROM reconciliation_summary;
