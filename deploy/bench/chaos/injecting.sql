-- sum_fences --
SELECT coalesce(sum(fence), 0) FROM streams;

-- refuse_inserts --
-- As a server answers that cannot extend a file: the statement fails, the transaction is lost, the
-- server lives on.
CREATE OR REPLACE FUNCTION chaos_disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE OR REPLACE TRIGGER chaos_disk_full BEFORE INSERT ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION chaos_disk_full();

-- accept_inserts --
DROP TRIGGER IF EXISTS chaos_disk_full ON {table};

-- rewind --
UPDATE source_checkpoints SET next_offset = floor(next_offset * %(share)s);
