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
    stream_version bigint NOT NULL,
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
    matched_at timestamptz NOT NULL,
    updated_position bigint,
    reason text,
    CONSTRAINT matches_pkey PRIMARY KEY (match_id)
);
CREATE INDEX matches_position_idx ON matches (tenant_id, reconciliation_id, position);
CREATE INDEX matches_suggested_idx ON matches (tenant_id, position) WHERE status = 'suggested';
COMMENT ON COLUMN matches.status IS 'confirmed, suggested or superseded';
COMMENT ON COLUMN matches.difference_minor IS 'target_minor - source_minor';
COMMENT ON COLUMN matches.position IS 'global position of the event that made the row';
COMMENT ON COLUMN matches.matched_at IS 'when that event was stored';
COMMENT ON COLUMN matches.updated_position IS 'position of the event that last changed the row; null: none did';
COMMENT ON COLUMN matches.reason IS 'why it is only suggested, or why it was superseded; null on a confirmed match';

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
    CONSTRAINT exceptions_pkey PRIMARY KEY (exception_id)
);
CREATE INDEX exceptions_status_idx ON exceptions (tenant_id, reconciliation_id, status, position);
CREATE INDEX exceptions_position_idx ON exceptions (tenant_id, position);
COMMENT ON COLUMN exceptions.side IS 'source or target';
COMMENT ON COLUMN exceptions.status IS 'open, in_progress, resolved or dismissed';
COMMENT ON COLUMN exceptions.position IS 'global position of the event that opened it';
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
    CONSTRAINT reconciliation_summary_pkey PRIMARY KEY (tenant_id, reconciliation_id)
) WITH (fillfactor = 50);
COMMENT ON COLUMN reconciliation_summary.exceptions_open IS
    'cases people see as open, duplicates among them';
COMMENT ON COLUMN reconciliation_summary.transactions_exception IS
    'transactions whose place is exception: open, or closed without a match; duplicates count apart';
COMMENT ON COLUMN reconciliation_summary.position IS 'global position of the last event folded in';

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
    'its share of the sum of its side: exact when it is alone there, else only all of them together';

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
SELECT protect_tenant_table('suggested_transactions');
SELECT protect_tenant_table('definitions');
SELECT protect_tenant_table('tenant_usage_view');
SELECT protect_tenant_table('error_hotspots_view');

GRANT SELECT, INSERT, UPDATE, DELETE ON matches, exceptions, reconciliation_summary,
    reconciliation_totals, suggested_transactions, definitions, tenant_usage_view,
    error_hotspots_view TO settler_projections;
GRANT SELECT ON matches, exceptions, reconciliation_summary, reconciliation_totals,
    suggested_transactions, definitions, tenant_usage_view, error_hotspots_view TO settler_api;

-- Where a rebuild makes the tables of the same names before it switches them in.
CREATE SCHEMA settler_rebuild;
GRANT USAGE ON SCHEMA settler_rebuild TO settler_projections;
