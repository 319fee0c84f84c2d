-- add_block --
-- Nothing comes back for one that is there already: its pages were committed with it.
INSERT INTO frozen_blocks (stream_id, number, fingerprints)
VALUES (%(stream_id)s, %(number)s, %(fingerprints)s)
ON CONFLICT ON CONSTRAINT frozen_blocks_pkey DO NOTHING
RETURNING number;

-- copy_pages --
COPY frozen_pages (stream_id, block, page, content) FROM STDIN (FORMAT BINARY);

-- read_fingerprints --
SELECT number, fingerprints FROM frozen_blocks
WHERE stream_id = %(stream_id)s AND number = ANY (%(numbers)s::bigint[]);

-- read_pages --
SELECT frozen_pages.block, frozen_pages.page, frozen_pages.content
FROM unnest(%(blocks)s::bigint[], %(pages)s::integer[]) AS wanted (block, page)
JOIN frozen_pages ON frozen_pages.stream_id = %(stream_id)s
    AND frozen_pages.block = wanted.block AND frozen_pages.page = wanted.page;

-- drop_unnamed_blocks --
-- What no snapshot names is needed by nobody who starts again, and up to the newest block that the
-- state just saved has made, neither by who holds the stream.
WITH unnamed AS (
    DELETE FROM frozen_blocks
    WHERE stream_id = %(stream_id)s AND number <= %(newest_block)s
      AND number NOT IN (
          SELECT unnest(blocks) FROM snapshots WHERE stream_id = %(stream_id)s)
    RETURNING number
)
DELETE FROM frozen_pages
WHERE stream_id = %(stream_id)s AND block IN (SELECT number FROM unnamed);
