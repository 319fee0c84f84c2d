-- Nobody of a release runs that cannot read such batches.
UPDATE log_head SET batch_format = 2;

ALTER TABLE matches DROP COLUMN stream_version;
