-- Old journals may go: up to which version they have, and the snapshot that stands in for them.

-- The batch in force at a moment of a stream: the last that begins at or before a position, or was
-- stored at or before an instant. Halves the stream by its unique key, so it costs some thirty looks
-- however long the log is; versions, positions and times of storing of a stream grow together.
CREATE FUNCTION batch_at(stream text, at_position bigint, at_instant timestamptz)
RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    low bigint := -1;
    high bigint;
    middle bigint;
    found bigint;
    is_before boolean;
BEGIN
    SELECT base_version INTO high FROM event_store WHERE stream_id = stream
    ORDER BY base_version DESC LIMIT 1;
    WHILE low < high LOOP
        middle := low + (high - low + 1) / 2;
        SELECT base_version,
               first_position <= coalesce(at_position, first_position)
                   AND created_at <= coalesce(at_instant, created_at)
        INTO found, is_before
        FROM event_store WHERE stream_id = stream AND base_version <= middle
        ORDER BY base_version DESC LIMIT 1;
        IF is_before THEN
            low := middle;
        ELSE
            high := found - 1;
        END IF;
    END LOOP;
    RETURN (SELECT base_version FROM event_store WHERE stream_id = stream AND base_version <= low
            ORDER BY base_version DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION batch_at IS
    'base_version of the batch of a stream in force at a position or an instant; null before its first';

-- What people did with the exceptions of a reconciliation; its own stream has the other batches.
CREATE INDEX event_store_beside_idx ON event_store (tenant_id, reconciliation_id, last_position)
    WHERE stream_id <> tenant_id || '/' || reconciliation_id;

-- Journals of batches up to a version are gone; `snapshots` keeps the state as of that version.
CREATE TABLE journal_expiries (
    stream_id text CONSTRAINT journal_expiries_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    expired_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT protect_tenant_table('journal_expiries');

GRANT SELECT ON journal_expiries TO settler_flow;
GRANT SELECT, INSERT, UPDATE ON journal_expiries TO settler_operator;
GRANT UPDATE (journal) ON event_store TO settler_operator;
GRANT INSERT, DELETE ON snapshots TO settler_operator;

-- Business days ---------------------------------------------------------------------------

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
        'rejected', element -> 4, 'days', coalesce(element -> 5, '[]'))
    WHEN 'PeriodClosed' THEN jsonb_build_object('day', element -> 1)
    WHEN 'WatermarkAdvanced' THEN jsonb_build_object('watermark_us', element -> 1)
    WHEN 'ReconciliationDefined' THEN jsonb_build_object(
        'definition_version', element -> 1, 'definition', element -> 2, 'command_id', element -> 3)
    ELSE jsonb_build_object('fields', element - 0)
    END
$$;

-- Control totals: what was posted to each business day of a reconciliation, by side and currency.
-- Facts of a day that is closed are posted to the first that is open, so a closed day never changes.
-- Pending is what the other places leave over of what was accepted. Records that were refused or
-- redelivered have no currency of their own and stand under XXX, the code of ISO 4217 for none.
CREATE TABLE control_totals (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    day date NOT NULL,
    side text NOT NULL,
    currency text NOT NULL,
    accepted_count bigint NOT NULL DEFAULT 0,
    accepted_minor numeric NOT NULL DEFAULT 0,
    matched_count bigint NOT NULL DEFAULT 0,
    matched_minor numeric NOT NULL DEFAULT 0,
    suggested_count bigint NOT NULL DEFAULT 0,
    suggested_minor numeric NOT NULL DEFAULT 0,
    exception_count bigint NOT NULL DEFAULT 0,
    exception_minor numeric NOT NULL DEFAULT 0,
    duplicate_count bigint NOT NULL DEFAULT 0,
    duplicate_minor numeric NOT NULL DEFAULT 0,
    superseded_count bigint NOT NULL DEFAULT 0,
    superseded_minor numeric NOT NULL DEFAULT 0,
    rejected_count bigint NOT NULL DEFAULT 0,
    redelivered_count bigint NOT NULL DEFAULT 0,
    CONSTRAINT control_totals_pkey PRIMARY KEY (tenant_id, reconciliation_id, day, side, currency)
) WITH (fillfactor = 50);
SELECT protect_tenant_table('control_totals');

-- The calendar of a reconciliation's books: its zone, the last closed day, the last day posted to.
CREATE TABLE period_calendars (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    time_zone text NOT NULL,
    closed_day date,
    latest_day date,
    CONSTRAINT period_calendars_pkey PRIMARY KEY (tenant_id, reconciliation_id)
) WITH (fillfactor = 50);
SELECT protect_tenant_table('period_calendars');

-- A statement for each closed day, as the text that was hashed. Each names the hash of the one before.
CREATE TABLE period_statements (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    day date NOT NULL,
    position bigint NOT NULL,
    closed_at timestamptz NOT NULL,
    statement text NOT NULL,
    hash text NOT NULL,
    previous_hash text,
    CONSTRAINT period_statements_pkey PRIMARY KEY (tenant_id, reconciliation_id, day)
);
SELECT protect_tenant_table('period_statements');

GRANT SELECT, INSERT, UPDATE, DELETE ON control_totals, period_calendars, period_statements
    TO settler_projections;
GRANT SELECT ON control_totals, period_calendars, period_statements TO settler_api;
