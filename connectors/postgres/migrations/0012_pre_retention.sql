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
