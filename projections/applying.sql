-- notify_changed --
SELECT pg_notify('settler_read_models', payload)
FROM unnest(%(payloads)s::text[]) AS asked (payload);
