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
GRANT SELECT, INSERT ON topic_resets TO settler_operator;
