-- What people decide about matches, and what corrections undo: it stands beside the match it concerns.

ALTER TABLE matches
    ADD COLUMN source_amounts numeric[],
    ADD COLUMN target_amounts numeric[],
    ADD COLUMN command_id text;
COMMENT ON COLUMN matches.status IS 'confirmed, suggested, superseded, rejected or reversed';
COMMENT ON COLUMN matches.reason IS
    'why it is only suggested, or what the one said who confirmed, rejected or reversed it, or why it was superseded';
COMMENT ON COLUMN matches.source_amounts IS
    'minor units of the members of a suggestion, in the order of source_ids; null where no event told them';
COMMENT ON COLUMN matches.target_amounts IS 'as source_amounts';
COMMENT ON COLUMN matches.command_id IS 'the command that last changed the row; null: a rule or a correction did';
COMMENT ON COLUMN suggested_transactions.amount_minor IS
    'its own amount; of events that told none its share of the sum of its side';
COMMENT ON COLUMN reconciliation_summary.status IS 'active or paused';

-- One stored event, [type, field, ...], as an object of named fields. A type without a branch shows
-- its fields unnamed rather than nothing.
CREATE OR REPLACE FUNCTION expand_event(event_type text, element jsonb, tenant text, reconciliation text)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE event_type
    WHEN 'RecordMatched' THEN jsonb_build_object(
        'match_id', match_identity(tenant, reconciliation, element ->> 1, element -> 4, element -> 5,
                                   (element ->> 9)::bigint),
        'rule', element -> 1, 'match_type', element -> 2, 'definition_version', element -> 3,
        'source_ids', element -> 4, 'target_ids', element -> 5, 'currency', element -> 6,
        'source_minor', element -> 7, 'target_minor', element -> 8, 'newest_ms', element -> 9)
    WHEN 'MatchSuggested' THEN jsonb_build_object(
        'match_id', match_identity(tenant, reconciliation, element ->> 1, element -> 4, element -> 5,
                                   (element ->> 9)::bigint),
        'rule', element -> 1, 'match_type', element -> 2, 'definition_version', element -> 3,
        'source_ids', element -> 4, 'target_ids', element -> 5, 'currency', element -> 6,
        'source_minor', element -> 7, 'target_minor', element -> 8, 'newest_ms', element -> 9,
        'reason', element -> 10, 'source_amounts', element -> 11, 'target_amounts', element -> 12,
        'single', element -> 13)
    WHEN 'MatchConfirmed' THEN jsonb_build_object(
        'match_id', match_identity(tenant, reconciliation, element ->> 1, element -> 4, element -> 5,
                                   (element ->> 9)::bigint),
        'rule', element -> 1, 'match_type', element -> 2, 'definition_version', element -> 3,
        'source_ids', element -> 4, 'target_ids', element -> 5, 'currency', element -> 6,
        'source_minor', element -> 7, 'target_minor', element -> 8, 'newest_ms', element -> 9,
        'suggestion_id', element -> 10, 'reason', element -> 11, 'command_id', element -> 12)
    WHEN 'MatchRejected' THEN jsonb_build_object(
        'match_id', element -> 1, 'rule', element -> 2, 'source_ids', element -> 3,
        'target_ids', element -> 4, 'reason', element -> 5, 'command_id', element -> 6)
    WHEN 'MatchReversed' THEN jsonb_build_object(
        'match_id', element -> 1, 'rule', element -> 2, 'source_ids', element -> 3,
        'target_ids', element -> 4, 'currency', element -> 5, 'source_minor', element -> 6,
        'target_minor', element -> 7, 'reason', element -> 8, 'command_id', element -> 9)
    WHEN 'MatchSuperseded' THEN jsonb_build_object(
        'match_id', element -> 1, 'rule', element -> 2, 'source_ids', element -> 3,
        'target_ids', element -> 4, 'reason', element -> 5)
    WHEN 'RecordUnmatched' THEN jsonb_build_object(
        'exception_id', exception_identity(tenant, reconciliation, (element ->> 1)::integer, element ->> 2),
        'side', CASE element ->> 1 WHEN '0' THEN 'source' ELSE 'target' END,
        'transaction_id', element -> 2, 'category', element -> 3, 'severity', element -> 4,
        'amount_minor', element -> 5, 'currency', element -> 6, 'occurred_ms', element -> 7,
        'rule', element -> 8, 'reason', element -> 9, 'candidates', element -> 10,
        'definition_version', element -> 11)
    WHEN 'ExceptionReclassified' THEN jsonb_build_object(
        'exception_id', exception_identity(tenant, reconciliation, (element ->> 1)::integer, element ->> 2),
        'side', CASE element ->> 1 WHEN '0' THEN 'source' ELSE 'target' END,
        'transaction_id', element -> 2, 'category', element -> 3, 'rule', element -> 4,
        'reason', element -> 5, 'candidates', element -> 6)
    WHEN 'ExceptionResolved' THEN jsonb_build_object(
        'exception_id', exception_identity(tenant, reconciliation, (element ->> 1)::integer, element ->> 2),
        'side', CASE element ->> 1 WHEN '0' THEN 'source' ELSE 'target' END,
        'transaction_id', element -> 2, 'resolution', element -> 3, 'match_id', element -> 4)
    WHEN 'DuplicateDetected' THEN jsonb_build_object(
        'side', CASE element ->> 1 WHEN '0' THEN 'source' ELSE 'target' END,
        'transaction_id', element -> 2, 'first_transaction_id', element -> 3, 'rule', element -> 4,
        'value', element -> 5, 'amount_minor', element -> 6, 'currency', element -> 7)
    WHEN 'TransactionSuperseded' THEN jsonb_build_object(
        'side', CASE element ->> 1 WHEN '0' THEN 'source' ELSE 'target' END,
        'transaction_id', element -> 2, 'superseded_by', element -> 3, 'amount_minor', element -> 4,
        'currency', element -> 5, 'late', element -> 6)
    WHEN 'ReconciliationPaused' THEN jsonb_build_object(
        'reason', element -> 1, 'command_id', element -> 2)
    WHEN 'ReconciliationResumed' THEN jsonb_build_object(
        'reason', element -> 1, 'command_id', element -> 2)
    WHEN 'CommandRefused' THEN jsonb_build_object(
        'command_id', element -> 1, 'command_type', element -> 2, 'code', element -> 3,
        'message', element -> 4)
    WHEN 'TransactionsAccepted' THEN jsonb_build_object(
        'counts', element -> 1, 'offsets', element -> 2, 'redelivered', element -> 3,
        'rejected', element -> 4)
    WHEN 'WatermarkAdvanced' THEN jsonb_build_object('watermark_us', element -> 1)
    WHEN 'ReconciliationDefined' THEN jsonb_build_object(
        'definition_version', element -> 1, 'definition', element -> 2, 'command_id', element -> 3)
    ELSE jsonb_build_object('fields', element - 0)
    END
$$;
