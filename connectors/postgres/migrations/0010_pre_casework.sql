-- People work exceptions: what they do stands in a stream of each exception, appended by the API, and
-- shows in the read model. A dead letter tells what came of the last time it was taken up again. Runs over
-- a range of time have a read model.

-- What a person did with an exception, by name; null for what is no casework.
CREATE FUNCTION expand_casework(event_type text, element jsonb, tenant text, reconciliation text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
    WHEN event_type IN ('ExceptionAssigned', 'ExceptionCommented', 'ExceptionReopened', 'ExceptionResolved')
    THEN jsonb_build_object(
        'exception_id', exception_identity(tenant, reconciliation, (element ->> 1)::integer, element ->> 2),
        'side', CASE element ->> 1 WHEN '0' THEN 'source' ELSE 'target' END,
        'transaction_id', element -> 2)
    END || CASE event_type
    WHEN 'ExceptionAssigned' THEN jsonb_build_object('assignee', element -> 3, 'command_id', element -> 4)
    WHEN 'ExceptionCommented' THEN jsonb_build_object('comment', element -> 3, 'command_id', element -> 4)
    WHEN 'ExceptionReopened' THEN jsonb_build_object('reason', element -> 3, 'command_id', element -> 4)
    WHEN 'ExceptionResolved' THEN jsonb_build_object(
        'resolution', element -> 3, 'match_id', element -> 4, 'reason', element -> 5,
        'command_id', element -> 6)
    END
$$;

-- What became of a run, by name; null for what is none of its events.
CREATE FUNCTION expand_run(event_type text, element jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE event_type
    WHEN 'ReconciliationStarted' THEN jsonb_build_object(
        'run_id', element -> 1, 'name', element -> 2, 'from_us', element -> 3, 'to_us', element -> 4,
        'definition_version', element -> 5, 'command_id', element -> 6)
    WHEN 'ReconciliationRetried' THEN jsonb_build_object(
        'run_id', element -> 1, 'definition_version', element -> 2, 'reason', element -> 3,
        'command_id', element -> 4)
    WHEN 'ReconciliationCancelled' THEN jsonb_build_object(
        'run_id', element -> 1, 'reason', element -> 2, 'command_id', element -> 3)
    WHEN 'ReconciliationCompleted' THEN jsonb_build_object(
        'run_id', element -> 1, 'definition_version', element -> 2, 'totals', element -> 3)
    WHEN 'ReconciliationFailed' THEN jsonb_build_object(
        'run_id', element -> 1, 'code', element -> 2, 'message', element -> 3)
    END
$$;

-- A stream beside the reconciliations' is called tenant/kind/id.
CREATE OR REPLACE VIEW events WITH (security_invoker = true) AS
SELECT
    md5(b.stream_id || ':' || (b.base_version + e.ordinal)::text)::uuid AS event_id,
    b.stream_id,
    b.base_version + e.ordinal AS stream_version,
    b.first_position + e.ordinal - 1 AS global_position,
    CASE WHEN b.stream_id = b.tenant_id || '/' || b.reconciliation_id THEN b.reconciliation_id
         ELSE split_part(b.stream_id, '/', 3) END AS aggregate_id,
    CASE WHEN b.stream_id = b.tenant_id || '/' || b.reconciliation_id THEN 'reconciliation'
         ELSE split_part(b.stream_id, '/', 2) END AS aggregate_type,
    e.element ->> 0 AS event_type,
    CASE b.format WHEN 1 THEN 1 END AS event_version,
    coalesce(expand_casework(e.element ->> 0, e.element, b.tenant_id, b.reconciliation_id),
             expand_run(e.element ->> 0, e.element),
             expand_event(e.element ->> 0, e.element, b.tenant_id, b.reconciliation_id)
             || expand_compared(e.element ->> 0, e.element)) AS data,
    jsonb_build_object('tenant_id', b.tenant_id, 'timestamp', b.created_at) || b.metadata AS metadata,
    b.created_at,
    b.tenant_id,
    b.reconciliation_id,
    b.correlation_id,
    b.last_position AS batch_position
FROM event_store AS b
CROSS JOIN LATERAL jsonb_array_elements(b.events::jsonb) WITH ORDINALITY AS e (element, ordinal);

-- The API's only way into the log: batches of one event, into streams of exceptions of the tenant it
-- acts for. It takes the lock of log_head, so it is the last thing a transaction does.
CREATE FUNCTION append_casework(stream_ids text[], reconciliation_ids text[], base_versions bigint[],
                                batch_format integer, events text[], metadata jsonb[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    tenant text := current_setting('settler.tenant_id');
    added integer := cardinality(stream_ids);
    head bigint;
BEGIN
    IF EXISTS (SELECT FROM unnest(stream_ids, events) AS one (stream_id, events)
               WHERE NOT starts_with(one.stream_id, tenant || '/exception/')
                  OR jsonb_array_length(one.events::jsonb) <> 1
                  OR one.events::jsonb -> 0 ->> 0 NOT IN (
                      'ExceptionAssigned', 'ExceptionCommented', 'ExceptionResolved', 'ExceptionReopened')) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only casework of the own tenant is appended here';
    END IF;
    UPDATE log_head SET position = position + added RETURNING position INTO head;
    INSERT INTO event_store (last_position, first_position, stream_id, tenant_id, reconciliation_id,
                             base_version, event_count, format, events, metadata)
    SELECT head - added + place, head - added + place, one.stream_id, tenant, one.reconciliation_id,
           one.base_version, 1, batch_format, one.events, one.metadata
    FROM unnest(stream_ids, reconciliation_ids, base_versions, events, metadata) WITH ORDINALITY
        AS one (stream_id, reconciliation_id, base_version, events, metadata, place);
    PERFORM pg_notify('settler_events', head::text);
    RETURN head;
END
$$;
-- It runs as the owner: nothing of the caller's may stand in for the tables it names.
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION append_casework SET search_path = %I, pg_temp', current_schema());
END $$;
REVOKE ALL ON FUNCTION append_casework FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_casework TO settler_api;

ALTER TABLE exceptions ADD COLUMN first_position bigint;
UPDATE exceptions SET first_position = position;
ALTER TABLE exceptions ADD COLUMN version integer NOT NULL DEFAULT 0;
ALTER TABLE exceptions ADD COLUMN comments integer NOT NULL DEFAULT 0;
ALTER TABLE exceptions ADD COLUMN resolution_reason text;
CREATE INDEX exceptions_assignee_idx ON exceptions (tenant_id, assignee, position)
    WHERE assignee IS NOT NULL;
COMMENT ON COLUMN exceptions.first_position IS 'position when it opened for the first time; null: as position';
COMMENT ON COLUMN exceptions.version IS 'events of its own stream folded in: what people did with it';
COMMENT ON COLUMN exceptions.resolution_reason IS 'what the person said who closed it';

ALTER TABLE dead_letter_queue ADD COLUMN redrive_outcome text
    CONSTRAINT dead_letter_queue_redrive_outcome CHECK (redrive_outcome IN ('accepted', 'refused'));
COMMENT ON COLUMN dead_letter_queue.redrive_outcome IS
    'what came of it when it was last taken up again; null: never was, or an earlier release did not say';
GRANT UPDATE (redrive_outcome) ON dead_letter_queue TO settler_flow;

-- One row a run over a range of event time.
CREATE TABLE reconciliation_runs (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    run_id text NOT NULL,
    name text,
    from_at timestamptz NOT NULL,
    to_at timestamptz NOT NULL,
    status text NOT NULL,
    definition_version integer NOT NULL,
    attempts integer NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    error text,
    reason text,
    totals jsonb,
    position bigint NOT NULL,
    updated_position bigint NOT NULL,
    CONSTRAINT reconciliation_runs_pkey PRIMARY KEY (tenant_id, reconciliation_id, run_id)
);
CREATE INDEX reconciliation_runs_position_idx
    ON reconciliation_runs (tenant_id, reconciliation_id, position);
COMMENT ON COLUMN reconciliation_runs.status IS 'running, completed, failed or cancelled';
COMMENT ON COLUMN reconciliation_runs.to_at IS 'not in the range; from_at is';
COMMENT ON COLUMN reconciliation_runs.totals IS
    'array of {side, currency, place, count, amount_minor}; null: not completed';
SELECT protect_tenant_table('reconciliation_runs');
GRANT SELECT, INSERT, UPDATE, DELETE ON reconciliation_runs TO settler_projections;
GRANT SELECT ON reconciliation_runs TO settler_api;
