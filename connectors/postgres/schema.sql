-- The whole schema as it should be today, for people to read; migrations/ is how databases get there,
-- and a test holds that both lead to the same. Runs as settler_owner once the roles exist.

CREATE TABLE schema_migrations (
    name text CONSTRAINT schema_migrations_pkey PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Row-level security -------------------------------------------------------------------------

-- Every table with rows of a tenant calls this once. A role without BYPASSRLS then sees the rows of
-- the tenant named in settler.tenant_id and, when it names none, no row at all. Forced, so that the
-- owner is no exception.
CREATE FUNCTION protect_tenant_table(target regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY tenant_isolation ON %s USING (tenant_id = current_setting(''settler.tenant_id'', true))',
        target);
END
$$;

-- The log ------------------------------------------------------------------------------------

-- One row: the position of the newest event. Taken under its row lock right before the batch rows
-- go in, so positions are gapless and in commit order.
CREATE TABLE log_head (
    "only" boolean DEFAULT true CONSTRAINT log_head_pkey PRIMARY KEY
        CONSTRAINT log_head_only CHECK ("only"),
    position bigint NOT NULL,
    batch_format smallint NOT NULL DEFAULT 1
) WITH (fillfactor = 10);
INSERT INTO log_head (position, batch_format) VALUES (0, 2);
COMMENT ON COLUMN log_head.batch_format IS 'newest format of batches that every release still running reads';

-- A row is a record batch: all events of one stream in one flush.
CREATE TABLE event_store (
    last_position bigint CONSTRAINT event_store_pkey PRIMARY KEY,
    first_position bigint NOT NULL,
    stream_id text NOT NULL,
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    base_version bigint NOT NULL,
    event_count integer NOT NULL CONSTRAINT event_store_not_empty CHECK (event_count > 0),
    format smallint NOT NULL DEFAULT 1,
    events text STORAGE EXTERNAL NOT NULL,
    journal bytea STORAGE EXTERNAL,
    metadata jsonb NOT NULL,
    correlation_id text GENERATED ALWAYS AS (metadata ->> 'correlation_id') STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT event_store_stream_version_key UNIQUE (stream_id, base_version),
    CONSTRAINT event_store_positions CHECK (last_position - first_position + 1 = event_count)
);
CREATE INDEX event_store_tenant_position_idx ON event_store (tenant_id, last_position);
CREATE INDEX event_store_correlation_idx ON event_store (tenant_id, correlation_id)
    WHERE correlation_id IS NOT NULL;
-- What people did with the exceptions of a reconciliation; its own stream has the other batches.
CREATE INDEX event_store_beside_idx ON event_store (tenant_id, reconciliation_id, last_position)
    WHERE stream_id <> tenant_id || '/' || reconciliation_id;
SELECT protect_tenant_table('event_store');

-- Identity -----------------------------------------------------------------------------------

-- The same derivations as domain/identity.py; md5 names things here, it secures nothing.
CREATE FUNCTION match_identity(tenant text, reconciliation text, rule text,
                               source_ids jsonb, target_ids jsonb, newest_ms bigint) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(least(greatest(newest_ms, 0), 281474976710655)), 12, '0')
            || left(md5(concat_ws(chr(31), tenant, reconciliation, rule,
                   (SELECT coalesce(string_agg(id, chr(30) ORDER BY place), '')
                    FROM jsonb_array_elements_text(source_ids) WITH ORDINALITY AS source (id, place)),
                   (SELECT coalesce(string_agg(id, chr(30) ORDER BY place), '')
                    FROM jsonb_array_elements_text(target_ids) WITH ORDINALITY AS target (id, place))
               )), 20))::uuid
$$;

CREATE FUNCTION exception_identity(tenant text, reconciliation text, side integer, transaction_id text)
RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT md5(tenant || chr(31) || reconciliation || chr(31) || 'exception' || chr(31)
               || CASE side WHEN 0 THEN 'source' ELSE 'target' END || chr(31) || transaction_id)::uuid
$$;

-- One stored event, [type, field, ...], as an object of named fields. A type without a branch shows
-- its fields unnamed rather than nothing.
CREATE FUNCTION expand_event(event_type text, element jsonb, tenant text, reconciliation text)
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

-- What a match compared, where its rule does not take amounts as they are.
CREATE FUNCTION expand_compared(event_type text, element jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE event_type
    WHEN 'RecordMatched' THEN jsonb_build_object('compared', element -> 10)
    WHEN 'MatchSuggested' THEN jsonb_build_object('compared', element -> 14)
    WHEN 'MatchConfirmed' THEN jsonb_build_object('compared', element -> 13)
    WHEN 'MatchReversed' THEN jsonb_build_object('compared', element -> 10)
    ELSE '{}'
    END
$$;

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

-- The events of a batch as [type, field, ...], one each, in order. Format 2 has one element for many
-- matches of a kind in a row: ["MatchedPairs", rule, definition version, [[source id, target id,
-- currency, source's amount, what the target's is above it, newest event time], ...]].
CREATE FUNCTION batch_elements(events jsonb) RETURNS TABLE (element jsonb, ordinal bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(one.element, written.element),
           row_number() OVER (ORDER BY written.place, one.place)
    FROM jsonb_array_elements(events) WITH ORDINALITY AS written (element, place)
    LEFT JOIN LATERAL (
        SELECT jsonb_build_array(
                   'RecordMatched', written.element -> 1, 'one_to_one', written.element -> 2,
                   jsonb_build_array(pair -> 0), jsonb_build_array(pair -> 1), pair -> 2, pair -> 3,
                   (pair ->> 3)::numeric + (pair ->> 4)::numeric, pair -> 5, NULL) AS element,
               pairs.place
        FROM jsonb_array_elements(CASE written.element ->> 0 WHEN 'MatchedPairs' THEN written.element -> 3 END)
            WITH ORDINALITY AS pairs (pair, place)
    ) AS one ON true
$$;

-- One row per event. Conditions on stream_id, tenant_id, correlation_id and batch_position reach the
-- indexes of event_store; global_position is computed per event and does not, so a range of it goes
-- through events_between().
-- A stream beside the reconciliations' is called tenant/kind/id.
CREATE VIEW events WITH (security_invoker = true) AS
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
    CASE WHEN b.format IN (1, 2) THEN 1 END AS event_version,
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
CROSS JOIN LATERAL batch_elements(b.events::jsonb) AS e;

-- The events with after < global_position <= until, by way of the primary key.
CREATE FUNCTION events_between(after bigint, until bigint) RETURNS SETOF events
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT * FROM events
    WHERE batch_position > after
      AND batch_position <= coalesce((SELECT min(last_position) FROM event_store
                                      WHERE last_position >= until), until)
      AND global_position > after
      AND global_position <= until
$$;

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

-- Streams and their state --------------------------------------------------------------------

-- The one writer's hold on a stream: who may write (fence), at which version, what it has read.
CREATE TABLE streams (
    stream_id text CONSTRAINT streams_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 1,
    next_offset jsonb NOT NULL DEFAULT '{}',
    wake_at timestamptz,
    definition_version integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
CREATE INDEX streams_wake_at_idx ON streams (wake_at) WHERE wake_at IS NOT NULL;
SELECT protect_tenant_table('streams');

-- Read by recovery alone; no policy, so only roles with BYPASSRLS ever see a row.
CREATE TABLE snapshots (
    stream_id text NOT NULL,
    version bigint NOT NULL,
    format smallint NOT NULL,
    state bytea STORAGE EXTERNAL NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    blocks bigint[] NOT NULL DEFAULT '{}',
    CONSTRAINT snapshots_pkey PRIMARY KEY (stream_id, version)
);
ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE snapshots FORCE ROW LEVEL SECURITY;

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

-- How far each partition is committed, and of which incarnation of the topic.
CREATE TABLE source_checkpoints (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    cluster_id text NOT NULL,
    topic_id text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT source_checkpoints_pkey PRIMARY KEY (topic, partition)
);

-- When `settler flow reset-offsets` let the offsets of a topic begin anew. Batches up to `position`
-- speak of the topic as it was before, and so do the dead letters under `letters_topic`; without
-- this, verification could not tell offsets that went back from records taken in twice.
CREATE TABLE topic_resets (
    topic text NOT NULL,
    letters_topic text NOT NULL,
    position bigint NOT NULL,
    reset_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT topic_resets_pkey PRIMARY KEY (topic, letters_topic)
);

CREATE TABLE projection_checkpoints (
    name text CONSTRAINT projection_checkpoints_pkey PRIMARY KEY,
    position bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Commands -----------------------------------------------------------------------------------

CREATE TABLE inbox (
    command_id uuid CONSTRAINT inbox_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    command_type text NOT NULL,
    payload jsonb NOT NULL,
    user_id text,
    correlation_id text NOT NULL,
    trace jsonb,
    submitted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text NOT NULL DEFAULT 'pending'
        CONSTRAINT inbox_status CHECK (status IN ('pending', 'done', 'refused')),
    outcome jsonb,
    decided_at timestamptz
);
CREATE INDEX inbox_pending_idx ON inbox (submitted_at, command_id) WHERE status = 'pending';
CREATE INDEX inbox_reconciliation_idx ON inbox (tenant_id, reconciliation_id, submitted_at);
SELECT protect_tenant_table('inbox');

-- Bad records --------------------------------------------------------------------------------

CREATE TABLE dead_letter_queue (
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    dead_letter_id uuid NOT NULL GENERATED ALWAYS AS
        (md5(topic || '/' || partition::text || '/' || "offset"::text)::uuid) STORED,
    tenant_id text,
    reconciliation_id text,
    transaction_id text,
    side smallint NOT NULL,
    raw bytea NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    redrive_requested_at timestamptz,
    redriven_at timestamptz,
    published_at timestamptz,
    redrive_outcome text
        CONSTRAINT dead_letter_queue_redrive_outcome CHECK (redrive_outcome IN ('accepted', 'refused')),
    CONSTRAINT dead_letter_queue_pkey PRIMARY KEY (topic, partition, "offset"),
    CONSTRAINT dead_letter_queue_id_key UNIQUE (dead_letter_id)
);
CREATE INDEX dead_letter_queue_tenant_idx ON dead_letter_queue (tenant_id, received_at, dead_letter_id);
CREATE INDEX dead_letter_queue_transaction_idx
    ON dead_letter_queue (tenant_id, transaction_id, received_at, dead_letter_id)
    WHERE transaction_id IS NOT NULL;
CREATE INDEX dead_letter_queue_redrivable_idx ON dead_letter_queue (received_at, dead_letter_id)
    WHERE redriven_at IS NULL AND (redrive_requested_at IS NOT NULL OR code = 'unknown_reconciliation');
CREATE INDEX dead_letter_queue_unpublished_idx ON dead_letter_queue (received_at, dead_letter_id)
    WHERE published_at IS NULL;
COMMENT ON COLUMN dead_letter_queue.redrive_outcome IS
    'what came of it when it was last taken up again; null: never was, or an earlier release did not say';
SELECT protect_tenant_table('dead_letter_queue');

-- Leases -------------------------------------------------------------------------------------

CREATE TABLE leases (
    name text CONSTRAINT leases_pkey PRIMARY KEY,
    holder text NOT NULL,
    acquired_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Who waits for a lease, so that a standby can be seen.
CREATE TABLE lease_standbys (
    name text NOT NULL,
    holder text NOT NULL,
    waiting_since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT lease_standbys_pkey PRIMARY KEY (name, holder)
);

-- Tenants ------------------------------------------------------------------------------------

CREATE TABLE tenants (
    tenant_id text CONSTRAINT tenants_pkey PRIMARY KEY
        CONSTRAINT tenants_id_form CHECK (tenant_id ~ '^[a-z0-9_-]{1,64}$'),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    suspended_at timestamptz,
    due_hours integer[] NOT NULL DEFAULT '{168,72,24,4}'
        CONSTRAINT tenants_due_hours_form CHECK (
            array_ndims(due_hours) = 1 AND cardinality(due_hours) = 4
            AND array_position(due_hours, NULL) IS NULL
            AND 1 <= ALL (due_hours) AND 8760 >= ALL (due_hours))
);
COMMENT ON COLUMN tenants.due_hours IS
    'hours from the opening of an exception until it is due: low, medium, high, critical';
SELECT protect_tenant_table('tenants');

CREATE TABLE api_keys (
    key_id text CONSTRAINT api_keys_pkey PRIMARY KEY,
    tenant_id text NOT NULL CONSTRAINT api_keys_tenant_fkey REFERENCES tenants (tenant_id),
    key_hash bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    role text NOT NULL DEFAULT 'developer'
        CONSTRAINT api_keys_role CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    user_id uuid,
    rotated_from text,
    requests_per_minute integer
        CONSTRAINT api_keys_rate CHECK (requests_per_minute > 0)
);
CREATE INDEX api_keys_tenant_idx ON api_keys (tenant_id, created_at);
SELECT protect_tenant_table('api_keys');
-- Who presents a key is not known yet: the API names the key's public part for the one transaction
-- and sees that row, no other.
CREATE POLICY key_lookup ON api_keys FOR SELECT
    USING (key_id = current_setting('settler.key_id', true));

-- Grants: what each role needs, no more ------------------------------------------------------

-- A later migration grants its own tables: SELECT, INSERT, UPDATE, DELETE to settler_projections and
-- SELECT to settler_api for a read model. Operators read every table without being told.
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO settler_operator;

GRANT SELECT, UPDATE ON log_head TO settler_flow;
GRANT SELECT, INSERT ON event_store TO settler_flow;
GRANT SELECT, INSERT, UPDATE ON streams TO settler_flow;
GRANT SELECT, INSERT, DELETE ON snapshots TO settler_flow;
GRANT SELECT, INSERT, UPDATE ON source_checkpoints TO settler_flow;
GRANT SELECT ON inbox TO settler_flow;
GRANT UPDATE (status, outcome, decided_at) ON inbox TO settler_flow;
GRANT SELECT, INSERT ON dead_letter_queue TO settler_flow;
GRANT UPDATE (tenant_id, reconciliation_id, transaction_id, code, message, redriven_at, published_at,
    redrive_outcome) ON dead_letter_queue TO settler_flow;
GRANT SELECT, INSERT, UPDATE, DELETE ON leases, lease_standbys TO settler_flow, settler_projections;

GRANT SELECT ON log_head, event_store, events, streams, dead_letter_queue TO settler_projections;
GRANT UPDATE (published_at) ON dead_letter_queue TO settler_projections;
GRANT SELECT, INSERT, UPDATE, DELETE ON projection_checkpoints TO settler_projections;

GRANT SELECT ON log_head, event_store, events, streams, source_checkpoints, projection_checkpoints,
    leases, lease_standbys, dead_letter_queue, tenants, api_keys TO settler_api;
GRANT SELECT, INSERT ON inbox TO settler_api;
GRANT UPDATE (redrive_requested_at, redriven_at) ON dead_letter_queue TO settler_api;
GRANT UPDATE (last_used_at) ON api_keys TO settler_api;

GRANT SELECT ON log_head, event_store, events, streams, snapshots, source_checkpoints,
    projection_checkpoints, leases, lease_standbys, dead_letter_queue, tenants, api_keys, inbox
    TO settler_operator;
GRANT INSERT ON inbox, tenants, api_keys TO settler_operator;
GRANT UPDATE (name, suspended_at) ON tenants TO settler_operator;
GRANT UPDATE (revoked_at) ON api_keys TO settler_operator;
GRANT UPDATE (topic, redrive_requested_at, redriven_at) ON dead_letter_queue TO settler_operator;
GRANT UPDATE (next_offset, fence, updated_at) ON streams TO settler_operator;
GRANT DELETE ON source_checkpoints, projection_checkpoints TO settler_operator;
GRANT SELECT, INSERT ON topic_resets TO settler_operator;
GRANT SELECT ON schema_migrations TO settler_flow, settler_projections, settler_api, settler_operator;

GRANT SELECT, INSERT, UPDATE ON journal_expiries TO settler_operator;
GRANT SELECT ON journal_expiries TO settler_flow;
GRANT UPDATE (journal) ON event_store TO settler_operator;
GRANT INSERT, DELETE ON snapshots TO settler_operator;

-- Read models -------------------------------------------------------------------------------------

-- The read models: what projections fold from event_store and the API shows.
--
-- All of them are disposable; a rebuild makes them again from the log, row for row.  They carry few
-- indexes on purpose, since each one costs a fifth of the rate at which matches become readable.
-- Amounts are whole minor units in numeric, for the sum of a group may pass 64 bits.

-- One row a match or suggestion.  The id begins with the newest member's event time, so inserts
-- stay at the right edge of the index.
CREATE TABLE matches (
    match_id uuid NOT NULL,
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    position bigint NOT NULL,
    rule text NOT NULL,
    match_type text NOT NULL,
    status text NOT NULL,
    source_ids text[] NOT NULL,
    target_ids text[] NOT NULL,
    currency text NOT NULL,
    source_minor numeric NOT NULL,
    target_minor numeric NOT NULL,
    difference_minor numeric NOT NULL,
    definition_version integer NOT NULL,
    updated_position bigint,
    reason text,
    source_amounts numeric[],
    target_amounts numeric[],
    command_id text,
    stream_hash bigint NOT NULL,
    CONSTRAINT matches_pkey PRIMARY KEY (match_id)
);
CREATE INDEX matches_position_idx ON matches (stream_hash, position);
CREATE INDEX matches_suggested_idx ON matches (tenant_id, position) WHERE status = 'suggested';
COMMENT ON COLUMN matches.status IS 'confirmed, suggested, superseded, rejected or reversed';
COMMENT ON COLUMN matches.difference_minor IS 'target_minor - source_minor';
COMMENT ON COLUMN matches.position IS 'global position of the event that made the row';
COMMENT ON COLUMN matches.updated_position IS 'position of the event that last changed the row; null: none did';
COMMENT ON COLUMN matches.stream_hash IS 'as in reconciliation_summary';
COMMENT ON COLUMN matches.reason IS
    'why it is only suggested, or what the one said who confirmed, rejected or reversed it, or why it was superseded';
COMMENT ON COLUMN matches.source_amounts IS
    'minor units of the members of a suggestion, in the order of source_ids; null where no event told them';
COMMENT ON COLUMN matches.target_amounts IS 'as source_amounts';
COMMENT ON COLUMN matches.command_id IS 'the command that last changed the row; null: a rule or a correction did';

-- At most one row a transaction: what failed to match, and what became of it.
CREATE TABLE exceptions (
    exception_id uuid NOT NULL,
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    position bigint NOT NULL,
    side text NOT NULL,
    transaction_id text NOT NULL,
    category text NOT NULL,
    severity text NOT NULL,
    status text NOT NULL,
    resolution text,
    amount_minor numeric NOT NULL,
    currency text NOT NULL,
    occurred_at timestamptz NOT NULL,
    rule text,
    reason text NOT NULL,
    candidates jsonb NOT NULL,
    match_id uuid,
    assignee text,
    definition_version integer NOT NULL,
    opened_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_position bigint NOT NULL,
    first_position bigint,
    version integer NOT NULL DEFAULT 0,
    comments integer NOT NULL DEFAULT 0,
    resolution_reason text,
    CONSTRAINT exceptions_pkey PRIMARY KEY (exception_id)
);
CREATE INDEX exceptions_status_idx ON exceptions (tenant_id, reconciliation_id, status, position);
CREATE INDEX exceptions_position_idx ON exceptions (tenant_id, position);
CREATE INDEX exceptions_assignee_idx ON exceptions (tenant_id, assignee, position)
    WHERE assignee IS NOT NULL;
CREATE FUNCTION exception_due_at(opened_at timestamptz, severity text, due_hours integer[])
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT opened_at + make_interval(hours => due_hours[
        array_position(ARRAY['low', 'medium', 'high', 'critical'], severity)])
$$;
COMMENT ON FUNCTION exception_due_at IS 'an exception that nobody has closed by then is overdue';
COMMENT ON COLUMN exceptions.side IS 'source or target';
COMMENT ON COLUMN exceptions.status IS 'open, in_progress, resolved or dismissed';
COMMENT ON COLUMN exceptions.position IS 'global position of the event that opened it';
COMMENT ON COLUMN exceptions.first_position IS 'position when it opened for the first time; null: as position';
COMMENT ON COLUMN exceptions.version IS 'events of its own stream folded in: what people did with it';
COMMENT ON COLUMN exceptions.resolution_reason IS 'what the person said who closed it';
COMMENT ON COLUMN exceptions.candidates IS
    'array of {transaction_id, side, amount_minor, currency, rule, failed, detail}; side is source or target';

-- One row a reconciliation.  Counts of transactions by where they stand:
-- accepted = pending + matched + suggested + exception + duplicate + superseded.
-- Rows are updated with every batch, so half of each page is left free for updates in place.
CREATE TABLE reconciliation_summary (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    name text,
    definition_version integer NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'active',
    accepted_source bigint NOT NULL DEFAULT 0,
    accepted_target bigint NOT NULL DEFAULT 0,
    redelivered bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    matches_confirmed bigint NOT NULL DEFAULT 0,
    transactions_matched bigint NOT NULL DEFAULT 0,
    suggestions_open bigint NOT NULL DEFAULT 0,
    transactions_suggested bigint NOT NULL DEFAULT 0,
    exceptions_open bigint NOT NULL DEFAULT 0,
    exceptions_resolved bigint NOT NULL DEFAULT 0,
    transactions_exception bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    superseded bigint NOT NULL DEFAULT 0,
    pending bigint NOT NULL GENERATED ALWAYS AS (
        accepted_source + accepted_target - transactions_matched - transactions_suggested
        - transactions_exception - duplicates - superseded) STORED,
    watermark_at timestamptz,
    first_event_at timestamptz NOT NULL,
    last_event_at timestamptz NOT NULL,
    position bigint NOT NULL,
    stream_hash bigint NOT NULL GENERATED ALWAYS AS (
        hashtextextended(reconciliation_id, hashtextextended(tenant_id, 0))) STORED,
    CONSTRAINT reconciliation_summary_pkey PRIMARY KEY (tenant_id, reconciliation_id)
) WITH (fillfactor = 50);
COMMENT ON COLUMN reconciliation_summary.status IS 'active or paused';
COMMENT ON COLUMN reconciliation_summary.exceptions_open IS
    'cases people see as open, duplicates among them';
COMMENT ON COLUMN reconciliation_summary.transactions_exception IS
    'transactions whose place is exception: open, or closed without a match; duplicates count apart';
COMMENT ON COLUMN reconciliation_summary.position IS 'global position of the last event folded in';
COMMENT ON COLUMN reconciliation_summary.stream_hash IS
    'tenant and reconciliation in eight bytes; not unique';

-- The same places per side and currency, with sums.
CREATE TABLE reconciliation_totals (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
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
    pending_count bigint NOT NULL GENERATED ALWAYS AS (
        accepted_count - matched_count - suggested_count - exception_count - duplicate_count
        - superseded_count) STORED,
    pending_minor numeric NOT NULL GENERATED ALWAYS AS (
        accepted_minor - matched_minor - suggested_minor - exception_minor - duplicate_minor
        - superseded_minor) STORED,
    CONSTRAINT reconciliation_totals_pkey
        PRIMARY KEY (tenant_id, reconciliation_id, side, currency)
) WITH (fillfactor = 50);

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
-- The calendar of a reconciliation's books: its zone, the last closed day, the last day posted to.
CREATE TABLE period_calendars (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    time_zone text NOT NULL,
    closed_day date,
    latest_day date,
    CONSTRAINT period_calendars_pkey PRIMARY KEY (tenant_id, reconciliation_id)
) WITH (fillfactor = 50);
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
-- The transactions that stand in suggestions: the summary's own memory of what they took out of
-- pending.  One may stand in several, of different rules, and counts once.
CREATE TABLE suggested_transactions (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    side text NOT NULL,
    transaction_id text NOT NULL,
    currency text NOT NULL,
    amount_minor numeric NOT NULL,
    suggestion_ids uuid[] NOT NULL,
    CONSTRAINT suggested_transactions_pkey
        PRIMARY KEY (tenant_id, reconciliation_id, side, transaction_id)
);
COMMENT ON COLUMN suggested_transactions.amount_minor IS
    'its own amount; of events that told none its share of the sum of its side';

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

-- Every version of every definition.
CREATE TABLE definitions (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    version integer NOT NULL,
    definition jsonb NOT NULL,
    defined_at timestamptz NOT NULL,
    command_id text NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT definitions_pkey PRIMARY KEY (tenant_id, reconciliation_id, version)
);

-- What a tenant used, per UTC day of storing.
CREATE TABLE tenant_usage_view (
    tenant_id text NOT NULL,
    usage_date date NOT NULL,
    transactions bigint NOT NULL DEFAULT 0,
    matches bigint NOT NULL DEFAULT 0,
    exceptions bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    redelivered bigint NOT NULL DEFAULT 0,
    events bigint NOT NULL DEFAULT 0,
    journal_bytes bigint NOT NULL DEFAULT 0,
    CONSTRAINT tenant_usage_view_pkey PRIMARY KEY (tenant_id, usage_date)
) WITH (fillfactor = 50);
COMMENT ON TABLE tenant_usage_view IS 'a table kept by a projection; days are UTC, by time of storing';
COMMENT ON COLUMN tenant_usage_view.exceptions IS 'exceptions opened that day';

-- Where exceptions come from, per UTC day of opening.
CREATE TABLE error_hotspots_view (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    day date NOT NULL,
    category text NOT NULL,
    rule text NOT NULL,
    currency text NOT NULL,
    exception_count bigint NOT NULL DEFAULT 0,
    open_count bigint NOT NULL DEFAULT 0,
    amount_minor numeric NOT NULL DEFAULT 0,
    open_amount_minor numeric NOT NULL DEFAULT 0,
    last_seen_at timestamptz NOT NULL,
    CONSTRAINT error_hotspots_view_pkey
        PRIMARY KEY (tenant_id, reconciliation_id, day, category, rule, currency)
) WITH (fillfactor = 50);
COMMENT ON TABLE error_hotspots_view IS
    'a table kept by a projection; an exception counts on the UTC day it opened, under the category it has now';
COMMENT ON COLUMN error_hotspots_view.rule IS 'the rule that came nearest; empty: none';
COMMENT ON COLUMN error_hotspots_view.amount_minor IS
    'sum of absolute amounts, so that debits and credits do not hide each other';

SELECT protect_tenant_table('matches');
SELECT protect_tenant_table('exceptions');
SELECT protect_tenant_table('reconciliation_summary');
SELECT protect_tenant_table('reconciliation_totals');
SELECT protect_tenant_table('control_totals');
SELECT protect_tenant_table('period_calendars');
SELECT protect_tenant_table('period_statements');
SELECT protect_tenant_table('suggested_transactions');
SELECT protect_tenant_table('definitions');
SELECT protect_tenant_table('reconciliation_runs');
SELECT protect_tenant_table('tenant_usage_view');
SELECT protect_tenant_table('error_hotspots_view');

GRANT SELECT, INSERT, UPDATE, DELETE ON matches, exceptions, reconciliation_summary,
    reconciliation_totals, suggested_transactions, definitions, reconciliation_runs,
    tenant_usage_view, error_hotspots_view TO settler_projections;
GRANT SELECT ON matches, exceptions, reconciliation_summary, reconciliation_totals,
    suggested_transactions, definitions, reconciliation_runs, tenant_usage_view, error_hotspots_view
    TO settler_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON control_totals, period_calendars, period_statements
    TO settler_projections;
GRANT SELECT ON control_totals, period_calendars, period_statements TO settler_api;

-- Where a rebuild makes the tables of the same names before it switches them in.
CREATE SCHEMA settler_rebuild;
GRANT USAGE ON SCHEMA settler_rebuild TO settler_projections;

-- Who may do what ----------------------------------------------------------------------------
-- People with passwords, their sessions, the keys that sign their tokens, and who did what.

CREATE TABLE users (
    user_id uuid CONSTRAINT users_pkey PRIMARY KEY,
    tenant_id text NOT NULL CONSTRAINT users_tenant_fkey REFERENCES tenants (tenant_id),
    email text NOT NULL CONSTRAINT users_email_form CHECK (email = lower(email)),
    name text NOT NULL,
    role text NOT NULL
        CONSTRAINT users_role CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    password_hash text,
    email_verified_at timestamptz,
    failed_attempts integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- One address may belong to several tenants, which do not learn of each other.
    CONSTRAINT users_email_key UNIQUE (tenant_id, email),
    -- For foreign keys, which do not obey row-level security: they name the tenant too.
    CONSTRAINT users_tenant_key UNIQUE (tenant_id, user_id)
);
COMMENT ON COLUMN users.password_hash IS 'Argon2id with its parameters (RFC 9106); null: none set yet';
SELECT protect_tenant_table('users');

CREATE TABLE user_sessions (
    session_id uuid CONSTRAINT user_sessions_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    scopes text[] NOT NULL,
    address text,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_because text,
    CONSTRAINT user_sessions_tenant_key UNIQUE (tenant_id, session_id),
    CONSTRAINT user_sessions_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id)
);
CREATE INDEX user_sessions_user_idx ON user_sessions (user_id, created_at);
COMMENT ON TABLE user_sessions IS 'one per sign-in; its refresh tokens are one family and end with it';
SELECT protect_tenant_table('user_sessions');

-- Tokens that work once. A used one stays, so that its second use is seen.
CREATE TABLE user_tokens (
    token_id text CONSTRAINT user_tokens_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid,
    purpose text NOT NULL
        CONSTRAINT user_tokens_purpose CHECK (purpose IN ('refresh', 'password', 'email')),
    token_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT user_tokens_family CHECK ((purpose = 'refresh') = (session_id IS NOT NULL)),
    CONSTRAINT user_tokens_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id),
    CONSTRAINT user_tokens_session_fkey FOREIGN KEY (tenant_id, session_id)
        REFERENCES user_sessions (tenant_id, session_id)
);
CREATE INDEX user_tokens_user_idx ON user_tokens (user_id, purpose);
CREATE INDEX user_tokens_expires_idx ON user_tokens (expires_at);
SELECT protect_tenant_table('user_tokens');
-- As with key_lookup: a token names its own row, and no other is seen before the tenant is known.
CREATE POLICY token_lookup ON user_tokens FOR SELECT
    USING (token_id = current_setting('settler.token_id', true));

-- Of no tenant: whoever may sign for one may sign for all.
CREATE TABLE signing_keys (
    kid text CONSTRAINT signing_keys_pkey PRIMARY KEY,
    public_key bytea NOT NULL,
    sealed_private_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retires_at timestamptz
);
COMMENT ON COLUMN signing_keys.sealed_private_key IS 'AES-256-GCM under a key derived from the pepper';
COMMENT ON COLUMN signing_keys.retires_at IS 'null: signs; else only verifies, until then';

-- The keys of people; those of the tenant itself name none.
ALTER TABLE api_keys ADD CONSTRAINT api_keys_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES users (tenant_id, user_id);
COMMENT ON COLUMN api_keys.user_id IS 'whose key it is; null: made by an operator, the tenant''s';
COMMENT ON COLUMN api_keys.scopes IS 'narrow the role; empty: all that the role may';
COMMENT ON COLUMN api_keys.requests_per_minute IS 'null: the limit that every key has';

-- The audit log: appended to, never changed.
CREATE TABLE audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_log_pkey PRIMARY KEY,
    tenant_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    target text,
    details jsonb NOT NULL DEFAULT '{}',
    address text,
    trace_id text
);
CREATE INDEX audit_log_tenant_idx ON audit_log (tenant_id, audit_id);
COMMENT ON COLUMN audit_log.actor IS 'user:ID, key:ID or operator:NAME';
SELECT protect_tenant_table('audit_log');

GRANT SELECT ON users, user_sessions, user_tokens, signing_keys, audit_log TO settler_api;
GRANT INSERT ON users, user_sessions, user_tokens, signing_keys, api_keys, audit_log TO settler_api;
GRANT UPDATE (name, role, password_hash, email_verified_at, failed_attempts, locked_until,
    disabled_at, updated_at) ON users TO settler_api;
GRANT UPDATE (last_used_at, address, user_agent, revoked_at, revoked_because)
    ON user_sessions TO settler_api;
GRANT UPDATE (used_at) ON user_tokens TO settler_api;
GRANT DELETE ON user_tokens TO settler_api;
GRANT UPDATE (name, expires_at, revoked_at) ON api_keys TO settler_api;
GRANT UPDATE (name, due_hours) ON tenants TO settler_api;

GRANT INSERT ON users, audit_log TO settler_operator;
GRANT INSERT, UPDATE (retires_at), DELETE ON signing_keys TO settler_operator;
GRANT UPDATE (name, role, password_hash, failed_attempts, locked_until, disabled_at, updated_at)
    ON users TO settler_operator;
GRANT UPDATE (revoked_at, revoked_because) ON user_sessions TO settler_operator;
GRANT UPDATE (expires_at) ON api_keys TO settler_operator;

-- Idempotency --------------------------------------------------------------------------------
-- What was done under which Idempotency-Key, put in by the transaction that did it: the answer itself
-- is kept in Redis, and whatever becomes of that, nothing is done twice.

CREATE TABLE idempotency_keys (
    tenant_id text NOT NULL,
    actor text NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, actor, idempotency_key)
);
CREATE INDEX idempotency_keys_created_idx ON idempotency_keys (tenant_id, created_at);
COMMENT ON TABLE idempotency_keys IS 'kept for a day';
SELECT protect_tenant_table('idempotency_keys');

GRANT SELECT, INSERT, DELETE ON idempotency_keys TO settler_api;
GRANT UPDATE (fingerprint, created_at) ON idempotency_keys TO settler_api;

-- State bigger than memory: what a flow has not touched for long lies in blocks beside the snapshots that
-- name them. Contents only: which entries of a block are still alive, the state alone knows.
CREATE TABLE frozen_blocks (
    stream_id text NOT NULL,
    number bigint NOT NULL,
    fingerprints bytea STORAGE EXTERNAL NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT frozen_blocks_pkey PRIMARY KEY (stream_id, number)
);
ALTER TABLE frozen_blocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE frozen_blocks FORCE ROW LEVEL SECURITY;

-- A page is read for one entry of it, so it stays in its row: no second look-up, and nothing to inflate.
CREATE TABLE frozen_pages (
    stream_id text NOT NULL,
    block bigint NOT NULL,
    page integer NOT NULL,
    content bytea STORAGE EXTERNAL NOT NULL,
    CONSTRAINT frozen_pages_pkey PRIMARY KEY (stream_id, block, page)
) WITH (toast_tuple_target = 8160);
ALTER TABLE frozen_pages ENABLE ROW LEVEL SECURITY;
ALTER TABLE frozen_pages FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, DELETE ON frozen_blocks, frozen_pages TO settler_flow;
