-- add_missing --
INSERT INTO projection_checkpoints (name, position)
SELECT name, 0 FROM unnest(%(names)s::text[]) AS asked (name)
ON CONFLICT ON CONSTRAINT projection_checkpoints_pkey DO NOTHING;

-- read_positions --
SELECT name, position FROM projection_checkpoints WHERE name = ANY (%(names)s::text[]);

-- lock_positions --
-- In name order, so that two who lock several cannot wait for each other in a circle.
SELECT name, position FROM projection_checkpoints WHERE name = ANY (%(names)s::text[])
ORDER BY name FOR UPDATE;

-- move_positions --
WITH locked AS MATERIALIZED (
    SELECT name FROM projection_checkpoints WHERE name = ANY (%(names)s::text[])
    ORDER BY name FOR UPDATE
)
UPDATE projection_checkpoints AS kept SET position = %(to)s, updated_at = clock_timestamp()
FROM locked
WHERE kept.name = locked.name AND kept.position = %(expected)s
RETURNING kept.name;

-- delete_positions --
DELETE FROM projection_checkpoints WHERE name = ANY (%(names)s::text[]);
