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

ALTER TABLE snapshots ADD COLUMN blocks bigint[] NOT NULL DEFAULT '{}';

GRANT SELECT, INSERT, DELETE ON frozen_blocks, frozen_pages TO settler_flow;
